"""mem0's language models through LiteLLM: what its memories ask of them, with tools and in JSON."""

from mem0.configs.llms.base import BaseLlmConfig
from mem0.configs.prompts import FACT_RETRIEVAL_PROMPT
from mem0.llms.litellm import LiteLLM

REQUIREMENTS = ["mem0ai", "mcp"]
SHOWN = ["mem0ai"]
SERVED = 97
ROUNDS = 10
ENVIRONMENT = {"MEM0_TELEMETRY": "False"}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "add_memory",
            "description": "Keep a memory",
            "parameters": {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]},
        },
    }
]
ANSWERS = [{"last": "Input:", "answer": '{"facts": ["Likes snow"]}'}]


def tasks(address):
    made = LiteLLM(BaseLlmConfig(model="openai/gpt-4o", api_key="sk-test", temperature=0.1, max_tokens=200, top_p=0.1))

    def facts(number):
        return [
            made.generate_response(
                [
                    {"role": "system", "content": FACT_RETRIEVAL_PROMPT},
                    {"role": "user", "content": f"Input:\nuser: {number}: I like snow, {turn}"},
                ],
                response_format={"type": "json_object"},
            )
            for turn in range(5)
        ]

    def tools(number):
        asked = [{"role": "user", "content": f"{number}: use add_memory"}]
        return [made.generate_response(asked, tools=TOOLS, tool_choice="auto") for _ in range(4)]

    def plain(number):
        return [made.generate_response([{"role": "user", "content": f"{number}: hello {turn}"}]) for turn in range(4)]

    def failures(number):
        shown = []
        for words in ("fail with 500", "refuse the key"):
            try:
                shown.append(made.generate_response([{"role": "user", "content": f"{number}: {words}"}]))
            except Exception as error:
                shown.append(error)
        return shown

    return {"facts": facts, "tools": tools, "plain": plain, "failures": failures}
