"""smolagents: an agent that calls tools, one that writes code, LiteLLM's router, streams."""

import logging

from smolagents import CodeAgent, LiteLLMModel, LiteLLMRouterModel, ToolCallingAgent, tool
from smolagents.monitoring import LogLevel

REQUIREMENTS = ["smolagents[litellm]", "mcp"]
SHOWN = ["smolagents"]
SERVED = 97
ROUNDS = 4
ANSWERS = [
    {
        "in": "code agent",
        "answer": [
            "<code>\nweather = get_weather(city='Oslo')\nprint(weather)\n</code>",
            "<code>\nfinal_answer(weather)\n</code>",
        ],
    },
    {
        "in": "tool agent",
        "answer": [{"call": ["get_weather", {"city": "Oslo"}]}, {"call": ["final_answer", {"answer": "Snow"}]}],
    },
    {"in": "Snow in Oslo", "answer": {"call": ["final_answer", {"answer": "Snow"}]}},
]


@tool
def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return f"Snow in {city}"


def tasks(address):
    logging.getLogger("smolagents").setLevel(logging.ERROR)
    model = LiteLLMModel(model_id="openai/gpt-4o", api_base=address, api_key="sk-test", temperature=0.2)
    deployment = {"model": "openai/gpt-4o", "api_base": address, "api_key": "sk-test"}
    router = LiteLLMRouterModel(
        model_id="group",
        model_list=[{"model_name": "group", "litellm_params": deployment} for _ in range(2)],
        client_kwargs={"routing_strategy": "simple-shuffle"},
    )

    def run(kind, model, words, **options):
        agent = kind(tools=[get_weather], model=model, verbosity_level=LogLevel.OFF, max_steps=3, **options)
        answer = agent.run(words)
        return [answer, [step.model_output for step in agent.memory.steps if hasattr(step, "model_output")]]

    def tool_agent(number):
        return [run(ToolCallingAgent, model, f"{number}: tool agent, turn {turn}") for turn in range(3)]

    def code_agent(number):
        return [run(CodeAgent, model, f"{number}: code agent, turn {turn}") for turn in range(2)]

    def routed_agent(number):
        return [run(ToolCallingAgent, router, f"{number}: tool agent, turn {turn}") for turn in range(2)]

    def streaming_agent(number):
        return run(CodeAgent, model, f"{number}: code agent", stream_outputs=True)

    def plain(number):
        asked = [{"role": "user", "content": [{"type": "text", "text": f"{number}: hello"}]}]
        return [model.generate(asked) for _ in range(2)], [delta.content for delta in model.generate_stream(asked)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(
                    model.generate([{"role": "user", "content": [{"type": "text", "text": f"{number}: {words}"}]}])
                )
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "tool agent": tool_agent,
        "code agent": code_agent,
        "router": routed_agent,
        "streaming agent": streaming_agent,
        "model": plain,
        "failures": failures,
    }
