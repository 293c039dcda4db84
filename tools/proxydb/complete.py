"""Write SQL for what a schema of Prisma's has and a database lacks: LiteLLM's migrations may be older than LiteLLM.

psql … -c "select table_name || '.' || column_name from information_schema.columns …" | python complete.py SCHEMA
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_TYPES = {
    "String": "text",
    "Int": "integer",
    "BigInt": "bigint",
    "Float": "double precision",
    "Boolean": "boolean",
    "DateTime": "timestamp(3)",
    "Json": "jsonb",
    "Bytes": "bytea",
}
_FIELD = re.compile(r"^\s+(\w+)\s+(\w+)(\[\])?(\?)?(.*)$", re.MULTILINE)
_BLOCK = re.compile(r"^(model|enum) (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)


def main() -> None:
    known = set(sys.stdin.read().split())
    tables = {column.partition(".")[0] for column in known}
    blocks = _BLOCK.findall(Path(sys.argv[1]).read_text())
    enums = {name: re.findall(r"^\s+(\w+)\s*$", body, re.MULTILINE) for kind, name, body in blocks if kind == "enum"}
    for name, values in enums.items():
        listed = ", ".join(f"'{value}'" for value in values)
        print(f'do $$ begin create type "{name}" as enum ({listed}); exception when duplicate_object then end $$;')
    for kind, table, body in blocks:
        if kind == "enum":
            continue
        columns = dict(_columns(body, enums))
        if table in tables:
            for column, definition in columns.items():
                if f"{table}.{column}" not in known:
                    print(f'alter table "{table}" add column "{column}" {definition};')
            continue
        lines = [f'"{column}" {definition}' for column, definition in columns.items()]
        for word, listed in re.findall(r"^\s+@@(id|unique)\(\[([^\]]*)\]", body, re.MULTILINE):
            names = ", ".join(f'"{column.strip()}"' for column in listed.split(","))
            lines.append(f"{'primary key' if word == 'id' else 'unique'} ({names})")
        print(f'create table "{table}" ({", ".join(lines)});')


def _columns(body: str, enums: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Yield the columns of a model, each with its definition."""
    for name, kind, many, optional, rest in _FIELD.findall(body):
        if kind not in _TYPES and kind not in enums:
            continue  # another model's
        mapped = re.search(r'(?<!@)@map\("(\w+)"\)', rest)
        parts = [_TYPES.get(kind, f'"{kind}"') + many]
        if "autoincrement()" in rest:
            parts = ["bigserial"]
        elif "@default(now())" in rest:
            parts.append("default current_timestamp")
        elif default := re.search(r'@default\((?:"([^"]*)"|(-?[\d.]+|true|false)|(\w+))\)', rest):
            text = next(group for group in default.groups() if group is not None)
            parts.append(f"default {text}" if default[2] else f"default '{text}'")
        parts += [] if optional or many else ["not null"]
        parts += ["primary key"] if re.search(r"@id\b", rest) else []
        parts += ["unique"] if re.search(r"@unique\b", rest) else []
        yield mapped[1] if mapped else name, " ".join(parts)


if __name__ == "__main__":
    main()
