"""LiteLLM's proxy, run as its users run it: stock, or by ``litellm-accel run``; and the services that it may need."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litellm_accel.operation import server
from litellm_accel.verify.sides import clean_environment

#: What the extra ``litellm[proxy]`` installs, as far as a proxy does not start without it.
_EXTRA = ("fastapi", "uvicorn", "apscheduler", "backoff", "multipart")
_START_SECONDS = 240.0
_STOP_SECONDS = 60.0
#: What runs a program of this interpreter's with LiteLLM accelerated, see ``litellm-accel run``.
LAUNCH = (
    sys.executable,
    "-c",
    "import sys; from litellm_accel.cli import main; sys.argv[0] = 'litellm-accel'; main()",
    "run",
)
_ALIVE = "/health/liveliness"


def missing(*modules: str) -> str | None:
    """Return why no proxy can run in this environment, None if one can; ``modules`` are what it needs besides."""
    for module in (*_EXTRA, *modules):
        try:
            found = importlib.util.find_spec(module)
        except ImportError:
            found = None
        if found is None:
            return f"litellm[proxy] is not installed: there is no {module}"
    return None


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A proxy that ``command`` starts in ``folder``, and all its processes; it answers at ``port``."""

    def __init__(self, folder: Path, command: Sequence[str], environment: Mapping[str, str], port: int) -> None:
        self.port = port
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
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
        """Return when the proxy answers. Raises ``RuntimeError`` with the end of its log if it does not."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", _ALIVE)
                if connection.getresponse().status == 200:
                    connection.close()
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the proxy does not answer:\n{self.log()[-4000:]}")

    def log(self) -> str:
        """Return what the proxy has printed."""
        return self._log.read_text(errors="replace")

    def stop(self) -> bool:
        """Have the proxy end as a container's does, and its processes with it. Return whether it did so by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        is_good = True
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            is_good = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return is_good


class Gateway(Process):
    """One running proxy, of this environment; ``options`` are those of the command ``litellm``."""

    def __init__(
        self, folder: Path, options: Sequence[str], environment: Mapping[str, str], *, accelerated: bool
    ) -> None:
        port = free_port()
        self._stats = folder / "stats"
        self._stats.mkdir()
        script = str(Path(sys.executable).parent / "litellm")
        command = [*LAUNCH, script] if accelerated else [sys.executable, script]
        fixed = ("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port))
        inherited = clean_environment()
        path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), inherited["PYTHONPATH"])))
        own = {"LITELLM_ACCEL_STATS": str(self._stats)} if accelerated else {}
        held = {**inherited, "LITELLM_MODE": "PRODUCTION", **environment, **own, "PYTHONPATH": path}
        super().__init__(folder, [*command, *fixed, *options], held, port)

    def reports(self) -> list[dict[str, dict[str, Any]]]:
        """Return, for each process of an accelerated proxy, its components by name, as they are now."""
        answers, _ = server.ask_all(str(self._stats))
        found = [{row["name"]: row for row in answer["report"]["components"]} for answer in answers]
        return [report for report in found if any(row["state"] == "active" for row in report.values())]


class Redis:
    """A Redis server of its own, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = ("redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", str(folder))
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                break
            time.sleep(0.05)

    def stop(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()

    def keys(self) -> dict[str, tuple[str, int, Any]]:
        """Return all keys, each with its kind, the seconds it is kept for (-1: for ever), and what it holds."""
        import redis

        client: Any = redis.Redis(port=self.port, decode_responses=True)
        readers = {
            "string": client.get,
            "hash": client.hgetall,
            "list": lambda key: client.lrange(key, 0, -1),
            "set": lambda key: sorted(client.smembers(key)),
            "zset": lambda key: client.zrange(key, 0, -1),
        }
        found = {}
        for key in client.scan_iter(count=1000):
            kind, left = client.type(key), client.ttl(key)
            if kind in readers:
                found[key] = kind, left, readers[kind](key)
        client.close()
        return found


class Database:
    """A Postgres server with LiteLLM's tables; ``folder`` is where ``tools/proxydb/setup.sh`` has made it."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "env.sh").read_text().removeprefix("export ").split()
        self.environment = dict(line.split("=", 1) for line in lines)
        self.environment["PYTHONPATH"] = self.environment["PYTHONPATH"].partition("${")[0]
        self._address = self.environment["DATABASE_URL"].removesuffix("/litellm")

    def fresh(self, name: str) -> dict[str, str]:
        """Return the environment of a proxy with a new, empty database of this name."""
        self.drop(name)
        self._run(f'create database "{name}" template litellm')
        return {**self.environment, "DATABASE_URL": f"{self._address}/{name}"}

    def drop(self, name: str) -> None:
        """Drop a database, whoever is connected."""
        self._run(f'drop database if exists "{name}" with (force)')

    def rows(self, name: str) -> dict[str, list[Any]]:
        """Return all rows of all tables of database ``name``, by table."""
        listed = "select relname from pg_stat_user_tables where relname like 'LiteLLM%' order by 1"
        tables = self._run(listed, name).split()
        # One statement for all of them: psql takes longer to start than to answer.
        asked = " union all ".join(
            f"select json_build_array('{table}', row_to_json(found))::text from \"{table}\" as found"
            for table in tables
        )
        found: dict[str, list[Any]] = {}
        for line in self._run(asked, name).splitlines():
            table, row = json.loads(line)
            found.setdefault(table, []).append(row)
        return found

    def _run(self, statement: str, name: str = "postgres") -> str:
        command = ("psql", "-AtqX", f"{self._address}/{name}", "-c", statement)
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            raise RuntimeError(f"the database says: {ran.stderr.strip()}")
        return ran.stdout
