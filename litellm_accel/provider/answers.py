"""What is answered: chat completions, errors and embeddings, in the form of a profile."""

from __future__ import annotations

import base64
import random
import re
import struct
import zlib
from functools import cache
from typing import Any

import orjson

from litellm_accel.provider.profiles import PLAIN, Profile
from litellm_accel.provider.scenarios import TOOL_CALL, USAGE_DETAILS, Scenario, openai_error
from litellm_accel.provider.varying import CREATED, Varying

Json = Any

_FILLED = re.compile(r"\{\w+\}")


def filled(value: Json, varying: Varying) -> Json:
    """A copy of JSON with the varying values of its texts filled in."""
    if isinstance(value, str):
        return value.format_map(varying) if _FILLED.search(value) else value
    if isinstance(value, dict):
        return {name: filled(item, varying) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, varying) for item in value]
    return value


def last_text(request: Json) -> str:
    """The text of the last message; parts are joined."""
    messages = request.get("messages")
    content = messages[-1].get("content") if isinstance(messages, list) and messages else ""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", part.get("type"))) for part in content if isinstance(part, dict))
    return str(content or "")


def content_of(plan: Scenario, request: Json) -> str | None:
    """The text of the answer."""
    text = plan.content
    if text == "echo":
        text = last_text(request)
    elif text == "auto":
        said = last_text(request)
        digest = zlib.crc32(said.encode("utf-8", "surrogatepass"))
        text = f"Answer {digest:08x} to {len(request.get('messages') or ())} messages, {len(said)} characters."
    if plan.size:
        words = (text or "The quick brown fox") + " "
        text = (words * (plan.size // len(words) + 1))[: plan.size]
    return text


def tool_calls_of(plan: Scenario, request: Json, profile: Profile, varying: Varying) -> list[Json]:
    """The tool calls of the answer; ids are the provider's where the scenario leaves them to it."""
    if plan.tool_calls is not True:
        return plan.tool_calls or []
    tools = request.get("tools") or [TOOL_CALL]
    call = {**TOOL_CALL, "function": {"name": tools[0]["function"]["name"], "arguments": '{"city": "Oslo"}'}}
    return [{**call, "id": filled(profile.tool_id, varying)} if profile.tool_id else call]


def usage_of(plan: Scenario, request: Json, content: str | None, profile: Profile, varying: Varying) -> Json:
    """The usage of the answer in the profile's form; None where there is none."""
    if plan.usage == "details":
        usage = USAGE_DETAILS
    elif plan.usage != "auto":
        return plan.usage
    else:
        prompt = 3 + sum(1 + len(str(m.get("content", ""))) // 4 for m in request.get("messages") or ())
        completion = 1 + len(content or "") // 4
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return profile.usage(usage, varying)


def shaped(plan: Scenario, answer: dict[str, Json]) -> dict[str, Json]:
    """The answer with the members that the scenario adds, and without those it leaves out."""
    answer.update(plan.merge)
    for name in plan.omit:
        answer.pop(name, None)
    return answer


def completion(
    plan: Scenario, request: Json, model: str, profile: Profile = PLAIN, varying: Varying | None = None
) -> dict[str, Json]:
    """The chat completion object for a request."""
    varying = varying if varying is not None else Varying(b"", 0, "")
    content = content_of(plan, request)
    message: dict[str, Json] = {"role": "assistant", "content": content}
    if "refusal" not in profile.without or plan.refusal is not None:
        message["refusal"] = plan.refusal
    message.update(profile.message)
    if plan.reasoning is not None:
        message[profile.reasoning] = plan.reasoning
    if calls := tool_calls_of(plan, request, profile, varying):
        message["tool_calls"] = [{"index": i, **c} for i, c in enumerate(calls)] if profile.numbered_tools else calls
    message.update(plan.message)
    choice: dict[str, Json] = {"message": message}
    if "logprobs" not in profile.without:
        choice["logprobs"] = None
    varying["finish"] = str(plan.finish)
    choice.update(finish_reason=plan.finish, **filled(profile.choice, varying))
    answer: dict[str, Json] = {
        "id": filled(profile.identifier, varying),
        "object": "chat.completion",
        "created": varying.created if profile.dated else CREATED,
        "model": profile.models.get(model, model),
        "choices": [{"index": i, **choice, **plan.choice} for i in range(plan.n or request.get("n") or 1)],
    }
    if profile.fingerprint is not None:
        answer["system_fingerprint"] = profile.fingerprint
    usage = usage_of(plan, request, content, profile, varying)
    if usage is not None:
        answer["usage"] = usage
    answer.update(filled(profile.answer, varying))
    return shaped(plan, answer)


def body_of(value: Json, profile: Profile) -> bytes:
    """JSON as the provider writes it."""
    return (
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        if profile.indent
        else orjson.dumps(value)
    )


def failure(plan: Scenario, profile: Profile, varying: Varying) -> Json:
    """The body of an error: what OpenAI would say in the provider's words, anything else as it is."""
    body = plan.error or openai_error(f"The provider answers {plan.status}", "server_error", None)
    said = body.get("error") if isinstance(body, dict) and len(body) == 1 else None
    if isinstance(said, dict) and said.keys() == {"message", "type", "param", "code"}:
        return profile.error(plan.status, said, varying)
    return body


def page(status: int, reason: str, signed: str) -> bytes:
    """The page that stands for an error of whoever is in front of the provider."""
    title = f"{status} {reason}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{signed}</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


@cache
def _numbers() -> list[float]:
    """Numbers with as many digits as those of real vectors."""
    drawn = random.Random(0)
    return [round(drawn.gauss(0.0, 0.025), 9) for _ in range(2**16)]


def _vector(text: Json, length: int) -> list[float]:
    """A vector of ``length`` numbers, derived from a text."""
    seed = zlib.crc32(str(text).encode("utf-8", "surrogatepass"))
    if length <= 8:
        return [((seed >> (4 * i)) & 15) / 16 - 0.5 for i in range(length)]
    numbers = _numbers()
    first = seed % (len(numbers) // 2)
    return numbers[first : first + length]


def embeddings(request: Json) -> Json:
    """A vector for each input, of eight numbers or as many as are asked for."""
    inputs = request.get("input")
    is_one = not isinstance(inputs, list) or all(isinstance(token, int) for token in inputs)
    texts = [inputs] if is_one else inputs
    length = request.get("dimensions") or 8
    data = []
    for index, text in enumerate(texts):
        vector: Json = _vector(text, length)
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(1 + len(str(text)) // 4 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": request.get("model"), "usage": usage}
