"""LiteLLM's proxy, run as its users run it: stock, or by ``litellm-accel run``; and the services that it may need."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from litellm_accel.verify.proxy.services import LAUNCH, Database, Process, Redis, free_port

ROOT = Path(__file__).parents[2]
KEY = "sk-master-of-the-tests"
#: An interpreter whose environment holds ``litellm[proxy]``; else this one, if its own does.
PYTHON = os.environ.get("PROXY_TESTS_PYTHON", sys.executable)
_NEEDED = "fastapi, uvicorn, apscheduler, backoff, multipart, litellm.proxy"


def missing(*modules: str) -> str | None:
    """Return why no proxy can run here, None if one can; ``modules`` are what it needs besides."""
    if not shutil.which(PYTHON):
        return f"PROXY_TESTS_PYTHON={PYTHON} is no interpreter"
    for module in (*_NEEDED.split(", "), *modules):
        if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
            return f"{PYTHON} has no {module}: pip install 'litellm[proxy]', or set PROXY_TESTS_PYTHON"
    return None


class Gateway(Process):
    """One running proxy; ``command`` is what starts it, with ``{port}`` in the place of its port."""

    def __init__(
        self, folder: Path, command: Sequence[str], environment: Mapping[str, str], *, accelerated: bool
    ) -> None:
        port = free_port()
        self._reports = folder / "reports"
        self._reports.mkdir(parents=True)
        argv = [part.format(port=port) for part in command]
        scripts = Path(PYTHON).parent
        starter = [PYTHON, *LAUNCH[1:]] if accelerated else []
        path = [str(Path(__file__).parent / "reporting"), *([str(ROOT)] if accelerated else [])]
        known = environment.get("PYTHONPATH")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "PYTHON"))}
        held = {
            **inherited,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "PROXY_TESTS_REPORTS": str(self._reports),
            **environment,
            "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join([*path, *([known] if known else [])]),
        }
        super().__init__(folder, [*starter, str(scripts / argv[0]), *argv[1:]], held, port)

    def ask(
        self, method: str, path: str, body: Any = None, key: str | None = KEY, headers: Mapping[str, str] | None = None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Return status, headers and body of the answer; ``body`` is sent as JSON unless it is bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            own = {"Authorization": f"Bearer {key}"} if key else {}
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": "application/json", **own, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def reports(self) -> list[dict[str, dict[str, Any]]]:
        """Return, for each process of the proxy, its components by name, as they are now."""
        time.sleep(1)
        found = [json.loads(path.read_text()) for path in self._reports.iterdir() if not path.name.endswith("~")]
        return [{row["name"]: row for row in report["components"]} for report in found if is_accelerated(report)]

    def served(self) -> int:
        """Return how many calls the fast path has served, in all processes."""
        return sum(report["chat"]["served"] for report in self.reports())


def is_accelerated(report: Mapping[str, Any]) -> bool:
    """Return whether a report is of a process in which LiteLLM is accelerated."""
    return any(row["state"] == "active" for row in report["components"])


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A Redis server of its own; yields its port."""
    server = Redis(folder)
    try:
        yield server.port
    finally:
        server.stop()


def database_is_missing() -> str | None:
    """Return why no database can be made here, None if one can."""
    if os.environ.get("PROXY_TESTS_DATABASE"):
        return None
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return "no Postgres: apt-get install postgresql, or set PROXY_TESTS_DATABASE"
    if not shutil.which("node") or os.getuid() != 0:
        return "tools/proxydb/setup.sh needs root, Node and npm"
    return None if importlib.util.find_spec("venv") else "no module venv"


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Database]:
    """A Postgres server with LiteLLM's tables: the one in PROXY_TESTS_DATABASE, or one that is made here."""
    given = os.environ.get("PROXY_TESTS_DATABASE")
    if given:
        yield Database(Path(given))
        return
    folder.mkdir(parents=True)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)  # the server runs as another user
    script = ROOT / "tools" / "proxydb" / "setup.sh"
    environment = {**os.environ, "VENV": str(Path(PYTHON).parents[1]), "DIR": str(folder)}
    subprocess.run(["bash", str(script)], env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        yield Database(folder)
    finally:
        control = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))[-1]
        subprocess.run(
            ["su", "postgres", "-c", f"{control} -D {folder}/pg/data -m immediate stop"], stdout=subprocess.DEVNULL
        )
