"""Programs that run in forks of a process that has imported LiteLLM, which takes seconds, once for all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

import litellm_accel

ROOT = Path(litellm_accel.__file__).parents[1]

SERVER = """
import json, os, sys, traceback

import litellm

assert not any(name.startswith("litellm_accel") for name in sys.modules)
for line in sys.stdin:
    program, environment, output, errors = json.loads(line)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    for descriptor, path in enumerate((os.devnull, output, errors)):
        os.dup2(os.open(path, os.O_RDWR), descriptor)
    os.environ.update(environment)
    status = 0
    try:
        exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
"""


class Imported:
    """The process; ``run`` runs a program as if it began with ``import litellm``, and had LiteLLM's exit to itself."""

    def __enter__(self) -> Imported:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def run(self, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Return what a program has written. Raises ``CalledProcessError`` if it fails."""
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.TemporaryDirectory() as directory:
            written = [Path(directory, name) for name in ("stdout", "stderr")]
            for path in written:
                path.touch()
            self._server.stdin.write(json.dumps([program, environment, *map(str, written)]) + "\n")
            self._server.stdin.flush()
            status = int(self._server.stdout.readline())
            ran = subprocess.CompletedProcess([program], status, *(path.read_text("utf-8") for path in written))
        if status:
            print(ran.stdout, ran.stderr, sep="\n")
        ran.check_returncode()
        return ran
