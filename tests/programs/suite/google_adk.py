"""Google's Agent Development Kit with LiteLLM's models: agents with tools, sessions, streams, structured answers."""

import asyncio

from google.adk.agents import LlmAgent
from google.adk.agents.run_config import RunConfig, StreamingMode
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.genai import types
from pydantic import BaseModel

REQUIREMENTS = ["google-adk", "mcp"]
SHOWN = ["google-adk"]
SERVED = 92
ROUNDS = 4
UNORDERED = ["several in flight"]
ANSWERS = [{"in": "think hard", "answer": {"content": "auto", "reasoning": "First, think."}}]


class Report(BaseModel):
    city: str
    degrees: int


def get_weather(city: str) -> dict:
    """Tell the weather in a city."""
    return {"city": city, "weather": "snow"}


def tasks(address):
    model = LiteLlm(model="openai/gpt-4o", api_base=address, api_key="sk-test")

    def agent(**options):
        return LlmAgent(model=model, name="reporter", instruction="Report the weather.", **options)

    with_tools = InMemoryRunner(agent(tools=[get_weather]), app_name="program")
    structured_runner = InMemoryRunner(agent(output_schema=Report), app_name="program")

    async def ask(runner, identity, *questions, config=None):
        session = await runner.session_service.create_session(app_name="program", user_id="u", session_id=identity)
        shown = []
        for words in questions:
            content = types.Content(role="user", parts=[types.Part(text=words)])
            events = runner.run_async(
                user_id="u", session_id=session.id, new_message=content, run_config=config or RunConfig()
            )
            async for event in events:
                parts = event.content.parts if event.content else []
                shown.append([event.author, event.partial, [part.text or part.function_call for part in parts]])
        return shown

    async def tools(number):
        questions = [f"{number}: use get_weather, turn {turn}" for turn in range(3)]
        return await ask(with_tools, f"tools {number}", *questions)

    async def talk(number):
        return await ask(with_tools, f"talk {number}", *(f"{number}: question {turn}" for turn in range(4)))

    async def thoughts(number):
        return await ask(with_tools, f"thoughts {number}", *(f"{number}: think hard {turn}" for turn in range(3)))

    async def streams(number):
        config = RunConfig(streaming_mode=StreamingMode.SSE)
        return await ask(with_tools, f"stream {number}", f"{number}: use get_weather", f"{number}: more", config=config)

    async def structured(number):
        return await ask(structured_runner, f"structured {number}", f"{number}: a report", f"{number}: another")

    async def in_flight(number):
        asked = (ask(with_tools, f"flight {number} {turn}", f"{number}: hello {turn}") for turn in range(5))
        return await asyncio.gather(*asked)

    async def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(await ask(with_tools, f"{words} {number}", f"{number}: {words}"))
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "tools": tools,
        "conversation": talk,
        "thoughts": thoughts,
        "streams": streams,
        "structured": structured,
        "several in flight": in_flight,
        "failures": failures,
    }
