"""Strands Agents with LiteLLM's models: agents with tools, structured answers, asynchronous streams."""

from pydantic import BaseModel
from strands import Agent, tool
from strands.models.litellm import LiteLLMModel

REQUIREMENTS = ["strands-agents[litellm]", "mcp"]
SHOWN = ["strands-agents"]
SERVED = 97
ROUNDS = 6
MASKS = ['(?<="timeToFirstByteMs": )[0-9]+', '(?<="latencyMs": )[0-9]+']


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return f"Snow in {city}"


def tasks(address):
    model = LiteLLMModel(
        client_args={"api_key": "sk-test", "api_base": address}, model_id="openai/gpt-4o", params={"temperature": 0.2}
    )

    def agent(*tools):
        return Agent(model=model, tools=list(tools), system_prompt="You are terse.", callback_handler=None)

    def talk(number):
        one = agent()
        return [str(one(f"{number}: question {turn}")) for turn in range(4)], one.messages

    def tools(number):
        one = agent(get_weather)
        return [str(one(f"{number}: use get_weather, turn {turn}")) for turn in range(2)], one.messages

    def structured(number):
        return [
            agent()(f"{number}: report {turn}", structured_output_model=Report).structured_output for turn in range(2)
        ]

    async def asynchronous(number):
        one = agent(get_weather)
        shown = [str(await one.invoke_async(f"{number}: use get_weather"))]
        async for event in one.stream_async(f"{number}: stream"):
            if "data" in event:
                shown.append(event["data"])
        return shown

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(str(agent()(f"{number}: {words}")))
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "conversation": talk,
        "tools": tools,
        "structured": structured,
        "asynchronous": asynchronous,
        "failures": failures,
    }
