"""A request as the provider received it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

Json = Any


@dataclass(frozen=True)
class RecordedRequest:
    """One request as the provider received it; `headers` in order, `json` None where the body is not JSON."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    time: float

    @property
    def json(self) -> Json:
        return parse(self.body)

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case."""
        return header_of(self.headers, name)


def header_of(headers: list[tuple[str, str]], name: str) -> str | None:
    """The first value of a header, whatever its case; None where there is none."""
    lowered = name.lower()
    return next((value for key, value in headers if key.lower() == lowered), None)


def parse(body: bytes) -> Json:
    """The JSON of a request; None where there is none. The standard library reads lone surrogates, orjson does not."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)
        except ValueError:
            return None
