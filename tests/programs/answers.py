"""What the provider answers a program: a function of the request alone, so that both sides meet the same answers.

A program's file may hold ``ANSWERS``, a list of rules. The first rule whose words the request holds answers it:

    {"in": "words of any message", "last": "words of the last message", "answer": …}

``in`` may be a list of words that must all be there. An answer is the text to say, ``{"call": [name, {arguments}]}``
for the call of a tool, or the fields of a ``provider.Scenario``. A list of answers is gone through as the conversation
grows: the n-th answers a conversation with n messages of an assistant after the last of a user.

Without a rule, what the request asks for: an object of the schema in ``response_format``, the call of a tool that
``tool_choice`` demands or the user's message names (once for each), else a text. A user's message that holds
"fail with 429", "fail once with 500" or "refuse the key" gets that error.
"""

from __future__ import annotations

import ast
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = Any

FAILURE = re.compile(r"fail (once )?with (\d{3})")
REFUSAL = "refuse the key"


def literal(program: Path, name: str, default: Any = None) -> Any:
    """Return a constant of a program's file without importing what it imports."""
    for node in ast.parse(program.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    return default


def script(program: str) -> Callable[[Json], str]:
    """Return the scenario for each request of the program in that file."""
    return Script(literal(Path(program), "ANSWERS", [])).scenario


class Script:
    """Chooses scenarios by rules; counts requests that must fail once."""

    def __init__(self, rules: list[Json]) -> None:
        self.rules = rules
        self.failed: Counter[str] = Counter()

    def scenario(self, request: Json) -> str:
        """Return the scenario that answers ``request``, as a model name would say it."""
        asked = _text(_last(request, "user"))
        if failure := FAILURE.search(asked):
            self.failed[json.dumps(request)] += 1
            if not failure[1] or self.failed[json.dumps(request)] % 2:
                return f"error-{failure[2]}"
        if REFUSAL in asked:
            return "invalid-key"
        return _scenario(request, self._answer(request, asked))

    def _answer(self, request: Json, asked: str) -> Json:
        texts = [_text(message) for message in request["messages"]]
        whole = "\n".join(texts)
        for rule in self.rules:
            words = rule.get("in", [])
            words = [words] if isinstance(words, str) else words
            if all(word in whole for word in words) and rule.get("last", "") in texts[-1]:
                answer = rule["answer"]
                if isinstance(answer, list):
                    return answer[min(_turn(request), len(answer) - 1)]
                return answer
        return _fitting(request, asked)


def _fitting(request: Json, asked: str) -> Json:
    """What a request without a rule asks for."""
    tools = {tool["function"]["name"]: tool["function"] for tool in request.get("tools") or () if "function" in tool}
    choice = request.get("tool_choice")
    named = choice["function"]["name"] if isinstance(choice, dict) and "function" in choice else None
    if named is None and tools:
        mentioned = sorted((name for name in tools if name in asked), key=asked.find)[_turn(request) :]
        named = mentioned[0] if mentioned else next(iter(tools)) if choice == "required" else None
    if named is not None:
        return {"call": [named, instance(tools[named].get("parameters") or {})]}
    wanted = request.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        return json.dumps(instance(wanted["json_schema"].get("schema") or {}))
    return {"content": '{"answer": "yes"}' if wanted.get("type") == "json_object" else "auto"}


def _scenario(request: Json, answer: Json) -> str:
    fields = {"content": answer} if isinstance(answer, str) else dict(answer)
    calls = [fields.pop("call")] if "call" in fields else fields.pop("calls", [])
    if calls:
        digest = zlib.crc32(json.dumps(request["messages"]).encode())
        fields["tool_calls"] = [
            {
                "id": f"call_{digest:08x}{number}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            for number, (name, arguments) in enumerate(calls)
        ]
        fields = {"content": None, "finish": "tool_calls", **fields}
    return f"plain{json.dumps(fields)}"


def _last(request: Json, role: str) -> Json:
    return next((message for message in reversed(request["messages"]) if message.get("role") == role), {})


def _turn(request: Json) -> int:
    """How many messages of an assistant follow the last of a user."""
    roles = [message.get("role") for message in request["messages"]]
    after = roles[len(roles) - roles[::-1].index("user") :] if "user" in roles else roles
    return after.count("assistant")


def _text(message: Json) -> str:
    """The text of a message; parts are joined, calls of tools are left out."""
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", part.get("type"))) for part in content if isinstance(part, dict))
    return str(content or "")


def instance(schema: Json, definitions: Json = None) -> Json:
    """Return an object of a JSON schema, always the same."""
    definitions = definitions or schema.get("$defs") or schema.get("definitions") or {}
    if "$ref" in schema:
        return instance(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for several in ("anyOf", "oneOf"):
        if schema.get(several):
            return instance(schema[several][0], definitions)
    if schema.get("allOf"):
        return instance(schema["allOf"][0], definitions)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: instance(of, definitions) for name, of in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [instance(schema.get("items") or {}, definitions)]
    return {"string": "Oslo", "integer": 3, "number": 0.5, "boolean": True, "null": None}[kind]
