"""CAMEL: chat agents on a LiteLLM model, with memory and structured answers.

It wants a release of mcp with which LiteLLM refuses every call with tools; that is seen in the task `tools`.
"""

from camel.agents import ChatAgent
from camel.models import ModelFactory
from camel.toolkits import FunctionTool
from camel.types import ModelPlatformType
from pydantic import BaseModel

REQUIREMENTS = ["camel-ai", "mcp<2"]
SHOWN = ["camel-ai"]
SERVED = 97
ROUNDS = 6


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """Tell the weather in a city.

    Args:
        city (str): Where.
    """
    return f"Snow in {city}"


def tasks(address):
    model = ModelFactory.create(
        model_platform=ModelPlatformType.LITELLM,
        model_type="openai/gpt-4o",
        url=address,
        api_key="sk-test",
        model_config_dict={"temperature": 0.2},
    )

    def agent(**options):
        return ChatAgent("You are terse.", model=model, **options)

    def talk(number):
        one = agent()
        return [one.step(f"{number}: question {turn}").msgs[0].content for turn in range(4)]

    def tools(number):
        one = agent(tools=[FunctionTool(get_weather)])
        shown = []
        for turn in range(3):
            response = one.step(f"{number}: use get_weather, turn {turn}")
            calls = [[call.tool_name, call.args, call.result] for call in response.info["tool_calls"]]
            shown.append([response.msgs[0].content, calls])
        return shown

    def structured(number):
        return [agent().step(f"{number}: report {turn}", response_format=Report).msgs[0].content for turn in range(2)]

    def agents(number):
        return [agent().step(f"{number}: hello {turn}").msgs[0].content for turn in range(5)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(agent(retry_attempts=1).step(f"{number}: {words}").msgs)
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "conversation": talk,
        "tools": tools,
        "structured": structured,
        "agents": agents,
        "failures": failures,
    }
