"""Agno with LiteLLM's models: agents with tools, histories, structured answers, streams."""

from agno.agent import Agent
from agno.models.litellm import LiteLLM
from pydantic import BaseModel

REQUIREMENTS = ["agno", "mcp"]
SHOWN = ["agno"]
ROUNDS = 6
ENVIRONMENT = {"AGNO_TELEMETRY": "false"}


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Snow in {city}"


def tasks(address):
    def agent(**options):
        model = LiteLLM(id="openai/gpt-4o", api_base=address, api_key="sk-test", temperature=0.2)
        return Agent(model=model, instructions="You are terse.", telemetry=False, **options)

    def talk(number):
        one = agent()
        return [one.run(f"{number}: question {turn}").content for turn in range(4)]

    def tools(number):
        one = agent(tools=[get_weather])
        return [one.run(f"{number}: use get_weather, turn {turn}").content for turn in range(3)]

    def structured(number):
        return [agent(output_schema=Report).run(f"{number}: report {turn}").content for turn in range(2)]

    def streams(number):
        shown = [event.event for event in agent().run(f"{number}: stream", stream=True)]
        one = agent(tools=[get_weather])
        return shown, [getattr(event, "content", None) for event in one.run(f"{number}: use get_weather", stream=True)]

    async def asynchronous(number):
        one = agent(tools=[get_weather])
        shown = [(await one.arun(f"{number}: use get_weather, turn {turn}")).content for turn in range(2)]
        async for event in one.arun(f"{number}: stream", stream=True):
            shown.append(getattr(event, "content", None))
        return shown

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(agent().run(f"{number}: {words}").content)
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "conversation": talk,
        "tools": tools,
        "structured": structured,
        "streams": streams,
        "asynchronous": asynchronous,
        "failures": failures,
    }
