"""LiteLLM's proxy, run as its users run it: stock, or by ``litellm-accel run``; and the services that it may need."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from litellm_accel.verify.proxy.services import free_port

ROOT = Path(__file__).parents[2]
KEY = "sk-master-of-the-tests"
#: An interpreter whose environment holds ``litellm[proxy]``; else this one, if its own does.
PYTHON = os.environ.get("PROXY_TESTS_PYTHON", sys.executable)
_NEEDED = "fastapi, uvicorn, apscheduler, backoff, multipart, litellm.proxy"
_START_SECONDS = 300
_STOP_SECONDS = 30
_LAUNCH = "import sys; from litellm_accel.cli import main; sys.argv[0] = 'litellm-accel'; main()"


def missing(*modules: str) -> str | None:
    """Return why no proxy can run here, None if one can; ``modules`` are what it needs besides."""
    if not shutil.which(PYTHON):
        return f"PROXY_TESTS_PYTHON={PYTHON} is no interpreter"
    for module in (*_NEEDED.split(", "), *modules):
        if subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True).returncode:
            return f"{PYTHON} has no {module}: pip install 'litellm[proxy]', or set PROXY_TESTS_PYTHON"
    return None


class Gateway:
    """One running proxy; ``command`` is what starts it, with ``{port}`` in the place of its port."""

    def __init__(
        self, folder: Path, command: Sequence[str], environment: Mapping[str, str], *, accelerated: bool
    ) -> None:
        self.port = free_port()
        self._reports = folder / "reports"
        self._reports.mkdir(parents=True)
        self._log = folder / "log"
        argv = [part.format(port=self.port) for part in command]
        scripts = Path(PYTHON).parent
        starter = [PYTHON, "-c", _LAUNCH, "run"] if accelerated else []
        path = [str(Path(__file__).parent / "reporting"), *([str(ROOT)] if accelerated else [])]
        known = environment.get("PYTHONPATH")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM", "PYTHON"))}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*starter, str(scripts / argv[0]), *argv[1:]],
                cwd=folder,
                env={
                    **inherited,
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_MODE": "PRODUCTION",
                    "PROXY_TESTS_REPORTS": str(self._reports),
                    **environment,
                    "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
                    "PYTHONPATH": os.pathsep.join([*path, *([known] if known else [])]),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self._process.pid

    def wait(self) -> None:
        """Return when the proxy answers. Raises ``RuntimeError`` with its log if it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/health/liveliness")[0] == 200:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the proxy does not answer:\n{self.log()[-4000:]}")

    def log(self) -> str:
        """Return what the proxy has printed."""
        return self._log.read_text(errors="replace")

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

    def stop(self) -> None:
        """Have the proxy end as a container's does, and its processes with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def is_accelerated(report: Mapping[str, Any]) -> bool:
    """Return whether a report is of a process in which LiteLLM is accelerated."""
    return any(row["state"] == "active" for row in report["components"])


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """A Redis server of its own; yields its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def database_is_missing() -> str | None:
    """Return why no database can be made here, None if one can."""
    if os.environ.get("PROXY_TESTS_DATABASE"):
        return None
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        return "no Postgres: apt-get install postgresql, or set PROXY_TESTS_DATABASE"
    if not shutil.which("node") or os.getuid() != 0:
        return "tools/proxydb/setup.sh needs root, Node and npm"
    return None if importlib.util.find_spec("venv") else "no module venv"


class Database:
    """A Postgres server with LiteLLM's tables; ``folder`` is where ``tools/proxydb/setup.sh`` has made it."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "env.sh").read_text().removeprefix("export ").split()
        self.environment = dict(line.split("=", 1) for line in lines)
        self.environment["PYTHONPATH"] = self.environment["PYTHONPATH"].partition("${")[0]
        self._address = self.environment["DATABASE_URL"]

    def fresh(self, name: str) -> dict[str, str]:
        """Return the environment of a proxy with a new, empty database of this name."""
        self._run(f'drop database if exists "{name}"')
        self._run(f'create database "{name}" template litellm')
        return {**self.environment, "DATABASE_URL": self._address.removesuffix("/litellm") + f"/{name}"}

    def rows(self, name: str) -> dict[str, list[Any]]:
        """Return all rows of all tables of database ``name``, by table."""
        tables = self._run(
            "select relname from pg_stat_user_tables where relname like 'LiteLLM%' order by 1", name
        ).split()
        found = {
            table: self._run(f'select row_to_json(row) from "{table}" as row', name).splitlines() for table in tables
        }
        return {table: list(map(json.loads, lines)) for table, lines in found.items() if lines}

    def _run(self, statement: str, name: str = "postgres") -> str:
        address = self._address.removesuffix("/litellm") + f"/{name}"
        ran = subprocess.run(["psql", "-AtqX", address, "-c", statement], capture_output=True, text=True, check=True)
        return ran.stdout


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
