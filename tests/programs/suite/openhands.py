"""OpenHands' SDK: its language model with tools, conversations, streams, failures."""

from openhands.sdk import LLM, Agent, Conversation
from openhands.sdk.llm import Message, TextContent
from pydantic import SecretStr

REQUIREMENTS = ["openhands-sdk"]
SHOWN = ["openhands-sdk"]
PYTHON = "3.12"
SERVED = 69
ROUNDS = 5
# The provider makes cookies of what it is asked, which holds the folder that a conversation works in.
MASKS = [r"(?<=__cf_bm=)[^;\"]+", r"(?<=_cfuvid=)[^;\"]+"]
ENVIRONMENT = {"OPENHANDS_SUPPRESS_BANNER": "1"}
# It wants a release of mcp with which LiteLLM refuses every call with tools: its agents ask for tools in words.
ANSWERS = [
    {
        "in": ["agent task", "EXECUTION RESULT"],
        "answer": "<function=finish>\n<parameter=message>Done.</parameter>\n</function>",
    },
    {
        "in": "agent task",
        "answer": "Let me see.\n<function=think>\n<parameter=thought>First, think.</parameter>\n</function>",
    },
]


def tasks(address):
    options = {"model": "openai/gpt-4o", "api_key": SecretStr("sk-test"), "base_url": address}
    options |= {"num_retries": 1, "retry_min_wait": 0, "retry_max_wait": 0}
    llm = LLM(**options, usage_id="program")
    in_words = LLM(**options, usage_id="agent", native_tool_calling=False)

    def said(words):
        return [
            Message(role="system", content=[TextContent(text="You are terse.")]),
            Message(role="user", content=[TextContent(text=words)]),
        ]

    def conversations(number):
        shown = []
        for turn in range(3):
            talk = Conversation(agent=Agent(llm=in_words, tools=[]), workspace=".", visualizer=None)
            talk.send_message(f"{number}: agent task {turn}")
            talk.run()
            shown.append([type(event).__name__ for event in talk.state.events])
        return shown

    def completions(number):
        return [llm.completion(messages=said(f"{number}: question {turn}")).message for turn in range(5)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(llm.completion(messages=said(f"{number}: {words}")).message)
            except Exception as error:
                shown.append(error)
        return shown

    return {"conversations": conversations, "completions": completions, "failures": failures}
