"""LlamaIndex with LiteLLM's models: chats, an agent with tools, structured answers, streams."""

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.tools import FunctionTool
from llama_index.llms.litellm import LiteLLM
from pydantic import BaseModel

REQUIREMENTS = ["llama-index-llms-litellm", "llama-index-core", "mcp"]
SHOWN = ["llama-index-llms-litellm", "llama-index-core"]
SERVED = 92
ROUNDS = 6
UNORDERED = ["several in flight"]
ANSWERS = [{"in": "in JSON", "answer": '{"city": "Oslo", "degrees": -3}'}]


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Snow in {city}"


def tasks(address):
    model = LiteLLM("openai/gpt-4o", api_base=address, api_key="sk-test", temperature=0.2, max_retries=1)

    def talk(number):
        history = [ChatMessage(role="system", content="You are terse.")]
        for turn in range(4):
            history.append(ChatMessage(role="user", content=f"{number}: question {turn}"))
            history.append(model.chat(history).message)
        return [message.content for message in history]

    def completions(number):
        return [model.complete(f"{number}: complete {turn}").text for turn in range(3)]

    def tools(number):
        made = FunctionTool.from_defaults(get_weather)
        history = [ChatMessage(role="user", content=f"{number}: use get_weather")]
        response = model.chat_with_tools([made], chat_history=history)
        history.append(response.message)
        for call in model.get_tool_calls_from_response(response, error_on_no_tool_call=False):
            content = str(made(**call.tool_kwargs))
            history.append(ChatMessage(role="tool", content=content, additional_kwargs={"tool_call_id": call.tool_id}))
        return model.chat_with_tools([made], chat_history=history).message.content

    async def agent(number):
        made = FunctionAgent(tools=[get_weather], llm=model, system_prompt="Report.", streaming=False)
        return [str(await made.run(f"{number}: use get_weather, turn {turn}")) for turn in range(2)]

    def structured(number):
        program = LLMTextCompletionProgram.from_defaults(
            output_cls=Report, prompt_template_str="A report on {place} in JSON", llm=model
        )
        return [program(place=f"{number}, {turn}") for turn in range(2)]

    def streams(number):
        return [part.delta for part in model.stream_chat([ChatMessage(role="user", content=f"{number}: stream")])]

    async def in_flight(number):
        asked = (model.achat([ChatMessage(role="user", content=f"{number}: flight {turn}")]) for turn in range(5))
        return [response.message.content for response in await asyncio.gather(*asked)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(model.complete(f"{number}: {words}").text)
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "conversation": talk,
        "completions": completions,
        "tools": tools,
        "agent": agent,
        "structured": structured,
        "streams": streams,
        "several in flight": in_flight,
        "failures": failures,
    }
