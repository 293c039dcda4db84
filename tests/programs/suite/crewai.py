"""CrewAI: crews with tools, a language model on its own, structured answers, streams."""

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from pydantic import BaseModel

REQUIREMENTS = ["crewai[litellm]", "mcp"]
SHOWN = ["crewai"]
SERVED = 97
ROUNDS = 5
ENVIRONMENT = {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false", "CREWAI_TESTING": "true"}
# CrewAI wants a release of mcp with which LiteLLM refuses every call with tools: its agents ask for tools in words.
ANSWERS = [
    {"in": ["weather task", "Snow in Oslo"], "answer": "Thought: I know.\nFinal Answer: It snows in Oslo."},
    {
        "in": ["weather task", "get_weather"],
        "answer": 'Thought: I look.\nAction: get_weather\nAction Input: {"city": "Oslo"}',
    },
    {"in": "line", "answer": "Thought: I know.\nFinal Answer: A line."},
    {"in": "a report", "answer": 'Final Answer: {"city": "Oslo", "degrees": -3}'},
]


class Report(BaseModel):
    city: str
    degrees: int


@tool("get_weather")
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"Snow in {city}"


def tasks(address):
    options = {"model": "openai/team-model", "is_litellm": True, "base_url": address, "api_key": "sk-test"}
    llm = LLM(**options, temperature=0.2)

    def crew(words, tools, **expected):
        agent = Agent(role="reporter", goal="Report the weather", backstory="Brief.", llm=llm, tools=tools)
        task = Task(description=words, expected_output="One sentence", agent=agent, **expected)
        result = Crew(agents=[agent], tasks=[task], verbose=False).kickoff()
        return [result.raw, result.pydantic, result.token_usage]

    def crews(number):
        return [crew(f"{number}: weather task {turn}", [get_weather]) for turn in range(3)]

    def without_tools(number):
        return [crew(f"{number}: write a line {turn}", []) for turn in range(3)]

    def structured(number):
        return crew(f"{number}: a report", [], output_pydantic=Report)

    def calls(number):
        return [llm.call(f"{number}: question {turn}") for turn in range(4)]

    def streams(number):
        return LLM(**options, stream=True).call(f"{number}: stream")

    async def asynchronous(number):
        return [await llm.acall(f"{number}: question {turn}") for turn in range(3)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(llm.call(f"{number}: {words}"))
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "crew with tools": crews,
        "crew": without_tools,
        "structured": structured,
        "model": calls,
        "stream": streams,
        "asynchronous": asynchronous,
        "failures": failures,
    }
