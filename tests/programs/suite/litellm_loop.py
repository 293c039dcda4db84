"""LiteLLM alone: a loop of tools as its documentation shows it, streams, structured answers, a router, failures."""

import asyncio
import json

import litellm
from pydantic import BaseModel

REQUIREMENTS = ["mcp"]
SHOWN = ["mcp"]
SERVED = 97
ROUNDS = 4
UNORDERED = ["several in flight"]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class Answer(BaseModel):
    answer: str
    score: int


def tasks(address):
    model = {"model": "openai/gpt-4o", "api_base": address, "api_key": "sk-test"}
    settings = {"temperature": 0.2, "num_retries": 1}

    def loop(number, dump):
        messages = [{"role": "user", "content": f"{number}: use get_weather for Oslo"}]
        while True:
            response = litellm.completion(messages=messages, tools=TOOLS, tool_choice="auto", **model)
            message = response.choices[0].message
            messages.append(dump(message))
            if not message.tool_calls:
                return response
            for call in message.tool_calls:
                city = json.loads(call.function.arguments)["city"]
                result = {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": f"Snow in {city}"}
                messages.append(result)

    def tools_objects(number):
        return [loop(number, lambda message: message) for _ in range(2)]

    def tools_dumps(number):
        return [loop(number, lambda message: message.model_dump()) for _ in range(2)]

    def conversation(number):
        messages = [{"role": "system", "content": "You are terse."}]
        for turn in range(4):
            messages.append({"role": "user", "content": f"{number}: question {turn}"})
            messages.append(litellm.completion(messages=messages, **settings, **model).choices[0].message)
        return messages

    def streams(number):
        shown = []
        for turn in range(3):
            ask = [{"role": "user", "content": f"{number}: stream {turn}"}]
            chunks = list(litellm.completion(messages=ask, stream=True, **model))
            shown.append([chunk.choices[0].delta.content for chunk in chunks])
            shown.append(litellm.stream_chunk_builder(chunks, messages=ask))
        return shown

    def structured(number):
        ask = [{"role": "user", "content": f"{number}: an answer and its score"}]
        return [litellm.completion(messages=ask, response_format=Answer, **model) for _ in range(3)]

    def failures(number):
        shown = []
        for words in ("fail with 429", "fail with 500", "refuse the key", "fail once with 500"):
            try:
                ask = [{"role": "user", "content": f"{number}: {words}"}]
                shown.append(litellm.completion(messages=ask, **settings, **model))
            except Exception as error:
                shown.append(error)
        return shown

    async def in_flight(number):
        asks = [[{"role": "user", "content": f"{number}: in flight {turn}"}] for turn in range(6)]
        return await asyncio.gather(*(litellm.acompletion(messages=ask, **model) for ask in asks))

    async def streams_async(number):
        ask = [{"role": "user", "content": f"{number}: stream"}]
        options = {"include_usage": True}
        stream = await litellm.acompletion(messages=ask, stream=True, stream_options=options, **model)
        return [chunk async for chunk in stream]

    return {
        "tools, message objects": tools_objects,
        "tools, dumped messages": tools_dumps,
        "conversation": conversation,
        "streams": streams,
        "structured": structured,
        "failures": failures,
        "several in flight": in_flight,
        "asynchronous streams": streams_async,
    }
