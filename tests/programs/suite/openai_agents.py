"""OpenAI's Agents SDK with LiteLLM's models: agents with tools, structured answers, streams, several at a time."""

import asyncio

from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.extensions.models.litellm_model import LitellmModel
from pydantic import BaseModel

REQUIREMENTS = ["openai-agents[litellm]", "mcp"]
SHOWN = ["openai-agents"]
SERVED = 93
ROUNDS = 4
UNORDERED = ["several in flight"]


class Report(BaseModel):
    city: str
    degrees: int


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Snow in {city}"


def tasks(address):
    set_tracing_disabled(True)
    model = LitellmModel(model="openai/gpt-4o", base_url=address, api_key="sk-test")
    settings = ModelSettings(temperature=0.2, include_usage=True)
    plain = Agent(name="plain", instructions="Be brief.", model=model)
    with_tools = Agent(
        name="reporter", instructions="Report.", model=model, tools=[get_weather], model_settings=settings
    )
    structured_agent = Agent(name="structured", instructions="Report.", model=model, output_type=Report)

    async def talk(number):
        items, shown = [], []
        for turn in range(4):
            result = await Runner.run(plain, [*items, {"role": "user", "content": f"{number}: question {turn}"}])
            items = result.to_input_list()
            shown.append(result.final_output)
        return shown, items

    async def tools(number):
        shown = []
        for turn in range(3):
            result = await Runner.run(with_tools, f"{number}: use get_weather, turn {turn}")
            shown.append([result.final_output, result.to_input_list(), result.context_wrapper.usage])
        return shown

    async def structured(number):
        return [(await Runner.run(structured_agent, f"{number}: report {turn}")).final_output for turn in range(3)]

    async def streams(number):
        shown = []
        for agent in (plain, with_tools):
            result = Runner.run_streamed(agent, f"{number}: use get_weather")
            async for event in result.stream_events():
                shown.append(event.type)
            shown.append(result.final_output)
        return shown

    async def in_flight(number):
        asked = (Runner.run(with_tools, f"{number}: use get_weather, flight {turn}") for turn in range(5))
        return [result.final_output for result in await asyncio.gather(*asked)]

    def synchronous(number):
        return [Runner.run_sync(plain, f"{number}: hello {turn}").final_output for turn in range(3)]

    async def failures(number):
        shown = []
        for words in ("fail with 429", "fail with 500", "refuse the key"):
            try:
                shown.append(await Runner.run(plain, f"{number}: {words}"))
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "conversation": talk,
        "tools": tools,
        "structured": structured,
        "streams": streams,
        "several in flight": in_flight,
        "synchronous": synchronous,
        "failures": failures,
    }
