"""The command line. Programs are run beside the plain interpreter, with a stand-in for ``accelerate()``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from litellm_accel import cli, launch, spawned
from litellm_accel._backend import Backend

# What the installed script does, without LiteLLM.
COMMAND = """\
import sys, litellm_accel
litellm_accel.accelerate = lambda: sys.modules.setdefault("accelerated", sys)
from litellm_accel.cli import main
if __name__ == "__main__":
    main()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def command(tmp_path: Path) -> str:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "litellm-accel"
    script.write_text(COMMAND)
    return str(script)


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(cli.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": root, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def same(command: str, *arguments: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run ``python arguments`` plainly and accelerated; they must behave alike. Returns the accelerated run."""
    plain = python(*options, *arguments)
    accelerated = python(*options, command, "run", *arguments)
    assert accelerated.stdout == plain.stdout
    assert accelerated.stderr == plain.stderr
    assert accelerated.returncode == plain.returncode
    return accelerated


SHOW = """\
import sys
print(sys.argv, sys.path, __name__, __file__, __package__, __spec__ and __spec__.name, __doc__)
print(sys.modules["__main__"].__dict__ is globals())
"""


def test_script_sees_what_python_shows_it(here: Path, command: str) -> None:
    (here / "app.py").write_text(SHOW)
    (here / "deep").mkdir()
    (here / "deep" / "app.py").write_text("'''A program.'''\n" + SHOW)
    same(command, "app.py")
    same(command, "app.py", "--help", "-m", "x", "--", "")
    same(command, "deep/app.py", "1")
    same(command, str(here / "deep" / "app.py"))


def test_symbolic_link_gives_the_place_of_the_file(here: Path, command: str) -> None:
    (here / "real").mkdir()
    (here / "real" / "app.py").write_text(SHOW)
    (here / "app.py").symlink_to(here / "real" / "app.py")
    same(command, "app.py")


def test_module_sees_what_python_shows_it(here: Path, command: str) -> None:
    (here / "package").mkdir()
    (here / "package" / "__init__.py").write_text("")
    (here / "package" / "__main__.py").write_text(SHOW + "from . import __name__ as parent; print(parent)")
    (here / "app.py").write_text(SHOW)
    same(command, "-m", "app", "--help")
    same(command, "-m", "package", "1")


def test_directory_with_main(here: Path, command: str) -> None:
    (here / "tool").mkdir()
    (here / "tool" / "helper.py").write_text("name = 'helper'")
    (here / "tool" / "__main__.py").write_text("import helper, sys; print(helper.name, sys.argv, __name__)")
    assert "helper" in same(command, "tool", "1").stdout


@pytest.mark.skipif(sys.version_info < (3, 11), reason="python -P is new in 3.11")
def test_safe_path_stays_safe(here: Path, command: str) -> None:
    (here / "app.py").write_text(SHOW)
    same(command, "app.py", options=("-P",))


def test_accelerated_before_the_program_runs(here: Path, command: str) -> None:
    (here / "app.py").write_text("import sys; print('accelerated' in sys.modules)")
    assert python(command, "run", "app.py").stdout == "True\n"
    assert python(command, "run", "-m", "app").stdout == "True\n"


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(7)",
        "import sys; sys.exit('a message')",
        "raise SystemExit",
        "raise SystemExit(None)",
        "import os; os._exit(3)",
        "def inner():\n    raise ValueError('wrong')\ninner()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError('x') from error",
        "import nothing_of_this_name",
        "this is no Python",
        "raise KeyboardInterrupt",
        "raise EOFError",
        "import click; raise click.ClickException('of the program')",
        "import click; raise click.Abort",
        "import sys\nsys.excepthook = lambda kind, error, trace: print(kind, trace.tb_lineno, trace.tb_next)\n1 / 0",
        "import atexit; atexit.register(print, 'at exit'); raise BrokenPipeError('pipe')",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start()",
    ],
)
def test_program_ends_as_it_does_under_python(here: Path, command: str, code: str) -> None:
    (here / "app.py").write_text(code)
    same(command, "app.py")


def test_module_that_fails_shows_its_own_frames_only(here: Path, command: str) -> None:
    (here / "app.py").write_text("def inner():\n    raise ValueError('wrong')\ninner()")
    trace = python(command, "run", "-m", "app")
    assert trace.returncode == 1
    assert trace.stderr.count("  File ") == 2
    assert "litellm_accel" not in trace.stderr and "runpy" not in trace.stderr


def test_missing_module_is_worded_as_python_does(here: Path, command: str) -> None:
    assert "No module named" in same(command, "-m", "nothing_of_this_name").stderr


def test_import_error_of_a_module_keeps_its_traceback(here: Path, command: str) -> None:
    (here / "app.py").write_text("import nothing_of_this_name")
    trace = python(command, "run", "-m", "app")
    assert trace.returncode == 1
    assert "Traceback" in trace.stderr and "line 1" in trace.stderr


def test_interrupt_ends_by_signal(here: Path, command: str) -> None:
    (here / "app.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore the signal\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(10)\n"
    )
    assert same(command, "app.py").returncode == -signal.SIGINT


def test_main_can_be_pickled_and_spawned(here: Path, command: str) -> None:
    (here / "app.py").write_text(
        "import multiprocessing, pickle\n"
        "class Thing:\n"
        "    pass\n"
        "def work(number):\n"
        "    return number + 1\n"
        "if __name__ == '__main__':\n"
        "    print(type(pickle.loads(pickle.dumps(Thing()))) is Thing)\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.map(work, [1, 2]))\n"
    )
    assert same(command, "app.py").stdout == "True\n[2, 3]\n"


SPAWNING = """\
import subprocess, sys
shown = "print('litellm_accel.activation' in sys.modules, [p for p in sys.path if 'litellm-accel-' in p])"
for more in sys.argv[1:]:
    code = f"import sys; {more}; {shown}"
    print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout, end="")
"""


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of its own for temporary files, and a made-up LiteLLM."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "made-up" / "litellm").mkdir(parents=True)
    (tmp_path / "made-up" / "litellm" / "__init__.py").write_text("")
    return tmp_path


def path(*places: Path | str) -> str:
    return os.pathsep.join([*map(str, places), str(Path(cli.__file__).parent.parent)])


def test_spawned_processes_are_accelerated_when_they_import_litellm(here: Path, command: str, apart: Path) -> None:
    (here / "app.py").write_text(SPAWNING)
    asked = ("app.py", "pass", "import litellm")
    assert python(*asked, PYTHONPATH=path(apart / "made-up")).stdout == "False []\nFalse []\n"
    ran = python(command, "run", *asked, PYTHONPATH=path(apart / "made-up"))
    assert ran.stdout == "False []\nTrue []\n"


def test_spawned_processes_keep_their_own_sitecustomize(here: Path, command: str, apart: Path) -> None:
    (here / "app.py").write_text(SPAWNING)
    (apart / "made-up" / "sitecustomize.py").write_text("import sys; sys.known = __file__")
    ran = python(command, "run", "app.py", "print(sys.known)", PYTHONPATH=path(apart / "made-up"))
    assert ran.stdout == f"{apart / 'made-up' / 'sitecustomize.py'}\nFalse []\n"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders for temporary files are each user's own")
def test_a_folder_of_somebody_else_s_is_not_used(apart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(apart / "temporary"))
    environ = {"PYTHONPATH": "/before"}
    spawned.accelerate_spawned(environ)
    folder = apart / "temporary" / f"litellm-accel-{os.getuid()}"
    assert environ["PYTHONPATH"] == f"{folder}{os.pathsep}/before"
    folder.chmod(0o777)
    environ = {}
    spawned.accelerate_spawned(environ)
    assert environ["PYTHONPATH"] != str(folder)
    assert Path(environ["PYTHONPATH"], "sitecustomize.py").exists()


def test_workers_by_cores_unless_somebody_says_how_many() -> None:
    cores = str(launch._cores())
    assert launch.with_workers(("--port", "1"), {}) == ["--port", "1", "--num_workers", cores]
    for given in (("--num_workers", "3"), ("--num_workers=3",), ("--reload",)):
        assert launch.with_workers(given, {}) == given
    assert launch.with_workers((), {"NUM_WORKERS": "2"}) == ()


def test_proxy_is_litellms_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUM_WORKERS", raising=False)
    given = ["--config", "x.yaml", "--num_workers", "1", "--detailed_debug"]
    for options, collector in (([], "freeze"), (["--gc", "stock"], "")):
        monkeypatch.setenv("LITELLM_ACCEL_GC", "")
        program = cli.proxy.main([*options, *given], standalone_mode=False)
        assert (Path(program.target).stem, list(program.arguments)) == ("litellm", given)
        assert os.environ["LITELLM_ACCEL_GC"] == collector


def test_console_script_on_path(here: Path, command: str, tmp_path: Path) -> None:
    script = tmp_path / "bin" / "some-tool"
    script.write_text(f"#!{sys.executable}\nimport sys; print(sys.argv, sys.path[0]); sys.exit(5)\n")
    script.chmod(0o755)
    ran = python(command, "run", "some-tool", "--config", "x", PATH=str(tmp_path / "bin"))
    assert ran.stdout == f"{[str(script), '--config', 'x']} {tmp_path / 'bin'}\n"
    assert ran.returncode == 5


def test_file_here_comes_before_a_script_on_path(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "some-tool"
    script.write_text(f"#!{sys.executable}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert launch.find("some-tool", ()).target == str(script)
    (here / "some-tool").write_text("")
    assert launch.find("some-tool", ()).target == "some-tool"


def test_not_a_program(here: Path, command: str, tmp_path: Path) -> None:
    shell = tmp_path / "bin" / "shell-tool"
    shell.write_text("#!/bin/sh\necho no\n")
    shell.chmod(0o755)
    for target, reason in (
        ("nothing-of-this-name", "is neither a file nor a command on PATH"),
        ("./nothing.py", "is neither a file nor a command on PATH"),
        ("shell-tool", "is not a Python program"),
    ):
        ran = python(command, "run", target, PATH=str(tmp_path / "bin"))
        assert ran.returncode == 2
        assert reason in ran.stderr
        assert ran.stdout == ""


def test_python_dash_m_runs_a_program(here: Path) -> None:
    (here / "sitecustomize.py").write_text("import litellm_accel; litellm_accel.accelerate = lambda: None")
    (here / "app.py").write_text("import sys; print(sys.argv, sys.path[0]); sys.exit(4)")
    path = os.pathsep.join([str(here), str(Path(cli.__file__).parent.parent)])
    ran = python("-m", "litellm_accel", "app.py", "--help", PYTHONPATH=path)
    assert (ran.stdout, ran.returncode) == (f"{['app.py', '--help']} {here}\n", 4)
    usage = python("-m", "litellm_accel", PYTHONPATH=path)
    assert usage.returncode == 2
    assert "Usage: python -m litellm_accel [OPTIONS] TARGET" in usage.stderr


def test_help_imports_nothing_heavy(command: str) -> None:
    ran = python("-X", "importtime", command, "--help")
    assert ran.returncode == 0
    for name in ("run", "proxy", "status", "doctor", "demo"):
        assert f"\n  {name} " in ran.stdout
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "click" in imported
    assert not imported & {"litellm", "tiktoken", "numpy", "rich", "aiohttp", "asyncio", "orjson"}


def test_unknown_command_is_a_usage_error(command: str) -> None:
    ran = python(command, "no-such-command")
    assert ran.returncode == 2
    assert "No such command" in ran.stderr


def report(**state: str) -> dict[str, object]:
    component = {"name": "tokens", "state": "active", "reason": "counts tokens", **state}
    return {"litellm": "1.106.2", "components": [component]}


def test_diagnosis_of_health_is_empty() -> None:
    assert cli.diagnose(report(), {"bpe": Backend("compiled", "it imports")}, []) == []
    assert cli.diagnose(report(state="native"), {}, []) == []


@pytest.mark.parametrize("state", ["off", "failed", "unproven"])
def test_diagnosis_names_what_is_not_active(state: str) -> None:
    found = cli.diagnose(report(state=state, reason="the reason"), {}, [])
    assert found == [f"component tokens is {state}: the reason"]


def test_diagnosis_names_fallbacks_and_settings() -> None:
    backends = {"bpe": Backend("pure", "no compiled module is installed"), "gate": Backend("compiled", "it imports")}
    assert cli.diagnose(report(), backends, ["X=1 is wrong"]) == [
        "hot module bpe runs in pure Python: no compiled module is installed",
        "setting X=1 is wrong",
    ]


class StubReport:
    def __init__(self, state: str) -> None:
        self.state = state

    def to_dict(self) -> dict[str, object]:
        return report(state=self.state)

    def __str__(self) -> str:
        return "the table"


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for LiteLLM, which these commands import."""
    monkeypatch.setitem(sys.modules, "litellm", ModuleType("litellm"))


def test_status_prints_the_report(monkeypatch: pytest.MonkeyPatch, imported: None) -> None:
    monkeypatch.setattr("litellm_accel.accelerate", lambda: StubReport("active"))
    assert CliRunner().invoke(cli.commands, ["status"]).output == "the table\n"
    assert '"state": "active"' in CliRunner().invoke(cli.commands, ["status", "--json"]).output


def test_doctor_exits_by_its_findings(monkeypatch: pytest.MonkeyPatch, imported: None) -> None:
    monkeypatch.setattr("litellm_accel.backend", lambda: {"bpe": Backend("compiled", "it imports")})
    monkeypatch.setattr("litellm_accel.accelerate", lambda: StubReport("active"))
    monkeypatch.delenv("LITELLM_ACCEL_PURE", raising=False)
    healthy = CliRunner().invoke(cli.commands, ["doctor"])
    assert (healthy.exit_code, healthy.output.count("\n")) == (0, 1)
    monkeypatch.setattr("litellm_accel.accelerate", lambda: StubReport("failed"))
    monkeypatch.setenv("LITELLM_ACCEL_PURE", "perhaps")
    ill = CliRunner().invoke(cli.commands, ["doctor"])
    assert ill.exit_code == 1
    first, second = ill.output.splitlines()
    assert first.startswith("component tokens is failed")
    assert second.startswith("setting LITELLM_ACCEL_PURE='perhaps'")


@pytest.mark.parametrize("name", sorted(cli.commands.commands))
def test_each_command_has_help_with_examples(name: str) -> None:
    ran = CliRunner().invoke(cli.commands, [name, "--help"], standalone_mode=False)
    assert ran.exit_code == 0, ran.output
    assert re.search(rf"^ +(\w+=\S+ )?litellm-accel {name}\b", ran.output, re.MULTILINE), ran.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(shell: str) -> None:
    ran = CliRunner().invoke(cli.commands, ["completion", shell])
    assert ran.exit_code == 0 and "_LITELLM_ACCEL_COMPLETE" in ran.output
    words = {"bash": ("litellm-accel be", "1"), "zsh": ("litellm-accel be", "1"), "fish": ("litellm-accel be", "be")}[
        shell
    ]
    environment = {"_LITELLM_ACCEL_COMPLETE": f"{shell}_complete", "COMP_WORDS": words[0], "COMP_CWORD": words[1]}
    asked = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'litellm-accel'; from litellm_accel.cli import main; main()"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "bench" in asked.stdout, asked.stderr
