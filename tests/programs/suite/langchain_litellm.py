"""langchain-litellm: ChatLiteLLM in chains, with tools, structured answers, an agent, streams, a router."""

from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_litellm import ChatLiteLLM, ChatLiteLLMRouter
from litellm import Router
from pydantic import BaseModel

REQUIREMENTS = ["langchain-litellm", "langchain", "langgraph", "mcp"]
SHOWN = ["langchain-litellm", "langchain"]
SERVED = 93
ROUNDS = 4
UNORDERED = ["batches", "asynchronous batches"]


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Snow in {city}"


def tasks(address):
    model = ChatLiteLLM(model="openai/gpt-4o", api_base=address, api_key="sk-test", temperature=0.2, max_retries=1)
    deployment = {"model": "openai/gpt-4o", "api_base": address, "api_key": "sk-test"}
    router = Router(model_list=[{"model_name": "group", "litellm_params": deployment} for _ in range(2)])
    routed = ChatLiteLLMRouter(router=router, model="group", model_name="group")
    prompt = ChatPromptTemplate.from_messages([("system", "You are terse."), ("user", "{words}")])

    def chain(number):
        return [(prompt | model).invoke({"words": f"{number}: question {turn}"}).content for turn in range(4)]

    def loop(number):
        bound, messages = model.bind_tools([get_weather]), [HumanMessage(f"{number}: use get_weather")]
        for _ in range(2):
            answer = bound.invoke(messages)
            messages.append(answer)
            for call in answer.tool_calls:
                messages.append(ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]))
        return [[message.type, message.content] for message in messages]

    def agent(number):
        made = create_agent(model, [get_weather], system_prompt="Report.")
        result = made.invoke({"messages": [HumanMessage(f"{number}: use get_weather")]})
        return [[message.type, message.content] for message in result["messages"]]

    def structured(number):
        asked = model.with_structured_output(Report)
        return [asked.invoke(f"{number}: report {turn}") for turn in range(3)]

    def streams(number):
        return [
            chunk.content for chunk in model.stream([SystemMessage("Be brief."), HumanMessage(f"{number}: stream")])
        ]

    def batches(number):
        return [answer.content for answer in model.batch([f"{number}: batch {turn}" for turn in range(4)])]

    async def asynchronous(number):
        shown = [(await model.ainvoke(f"{number}: question {turn}")).content for turn in range(3)]
        return shown, [chunk.content async for chunk in model.astream(f"{number}: stream")]

    async def abatches(number):
        return [answer.content for answer in await model.abatch([f"{number}: batch {turn}" for turn in range(4)])]

    def through_router(number):
        return [routed.invoke(f"{number}: question {turn}").content for turn in range(3)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(model.invoke(f"{number}: {words}").content)
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "chain": chain,
        "tools": loop,
        "agent": agent,
        "structured": structured,
        "streams": streams,
        "batches": batches,
        "asynchronous": asynchronous,
        "asynchronous batches": abatches,
        "router": through_router,
        "failures": failures,
    }
