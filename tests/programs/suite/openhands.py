"""OpenHands' SDK: its language model with tools, conversations, streams, failures."""

from openhands.sdk import LLM, Agent, Conversation
from openhands.sdk.llm import Message, TextContent
from pydantic import SecretStr

REQUIREMENTS = ["openhands-sdk"]
SHOWN = ["openhands-sdk"]
PYTHON = "3.12"
SERVED = 0
ROUNDS = 5
ENVIRONMENT = {"OPENHANDS_SUPPRESS_BANNER": "1"}
ANSWERS = [
    {
        "in": "agent task",
        "answer": [
            {"call": ["think", {"thought": "Let me think."}], "content": "Let me see."},
            {"call": ["finish", {"message": "Done."}]},
        ],
    },
]


def tasks(address):
    options = {"model": "openai/gpt-4o", "api_key": SecretStr("sk-test"), "base_url": address}
    llm = LLM(**options, usage_id="program", num_retries=1, retry_min_wait=0, retry_max_wait=0)

    def said(words):
        return [
            Message(role="system", content=[TextContent(text="You are terse.")]),
            Message(role="user", content=[TextContent(text=words)]),
        ]

    def conversations(number):
        shown = []
        for turn in range(3):
            talk = Conversation(agent=Agent(llm=llm, tools=[]), workspace=".", visualizer=None)
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
