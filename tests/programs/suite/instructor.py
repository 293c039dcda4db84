"""instructor over LiteLLM: structured answers by tools, by JSON and by schema, asked again until they are valid."""

import asyncio

import instructor
import litellm
from pydantic import BaseModel, field_validator

REQUIREMENTS = ["instructor", "mcp"]
SHOWN = ["instructor"]
SERVED = 95
ROUNDS = 6
UNORDERED = ["several in flight"]
ANSWERS = [
    {
        "in": "again please",
        "answer": [{"call": ["Strict", {"degrees": 3}]}, {"call": ["Strict", {"degrees": -3}]}],
    },
    {"in": "in JSON", "answer": '{"city": "Oslo", "degrees": -3}'},
]


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


class Strict(BaseModel):
    """A report that must be cold."""

    degrees: int

    @field_validator("degrees")
    @classmethod
    def cold(cls, value):
        if value > 0:
            raise ValueError("too warm")
        return value


def tasks(address):
    options = {"model": "openai/gpt-4o", "api_base": address, "api_key": "sk-test"}
    client = instructor.from_litellm(litellm.completion)
    asynchronous_client = instructor.from_litellm(litellm.acompletion)
    in_json = instructor.from_litellm(litellm.completion, mode=instructor.Mode.JSON)

    def asked(words):
        return {"messages": [{"role": "user", "content": words}], **options}

    def by_tools(number):
        return [client.create(response_model=Report, **asked(f"{number}: report {turn}")) for turn in range(5)]

    def with_completion(number):
        report, response = client.create_with_completion(response_model=Report, **asked(f"{number}: report"))
        return report, response.usage

    def by_json(number):
        return [in_json.create(response_model=Report, **asked(f"{number}: in JSON {turn}")) for turn in range(4)]

    def again(number):
        return [
            client.create(response_model=Strict, max_retries=3, **asked(f"{number}: again please {turn}"))
            for turn in range(2)
        ]

    def partial(number):
        asked_for = instructor.Partial[Report]
        return list(client.create(response_model=asked_for, stream=True, **asked(f"{number}: report in parts")))

    async def asynchronous(number):
        return [
            await asynchronous_client.create(response_model=Report, **asked(f"{number}: report {turn}"))
            for turn in range(3)
        ]

    async def in_flight(number):
        calls = (
            asynchronous_client.create(response_model=Report, **asked(f"{number}: flight {turn}")) for turn in range(6)
        )
        return await asyncio.gather(*calls)

    def failures(number):
        shown = []
        for words in ("fail with 429", "fail with 500", "refuse the key"):
            try:
                shown.append(client.create(response_model=Report, max_retries=1, **asked(f"{number}: {words}")))
            except Exception as error:
                shown.append(error)
        return shown

    return {
        "by tools": by_tools,
        "with the completion": with_completion,
        "by JSON": by_json,
        "asked again": again,
        "partial": partial,
        "asynchronous": asynchronous,
        "several in flight": in_flight,
        "failures": failures,
    }
