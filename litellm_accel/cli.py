"""The command line, ``litellm-accel``. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from litellm_accel import __version__, launch, settings

if TYPE_CHECKING:
    from litellm_accel.demo.work import Row

_WIDTH = 140  # of a table that goes to no terminal


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Make LiteLLM faster without changing the application.

    \b
    litellm-accel doctor
    litellm-accel run app.py
    litellm-accel proxy --config config.yaml

    Exit codes: 0 all is well; 1 something is not, and was named; 2 the command was not understood. `run` and `profile`
    exit as the program does.
    """


# Options end at the target: what follows belongs to the program, its own --help included.
@commands.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="TARGET is a module's name, as in python -m.")
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(is_module: bool, target: str, arguments: tuple[str, ...]) -> launch.Program:
    """Run a program with LiteLLM accelerated.

    \b
    litellm-accel run app.py --option
    litellm-accel run litellm --config proxy.yaml

    TARGET is a Python file, a directory or archive with a __main__.py, a module (-m), or a console script such as
    litellm. Exit code, sys.argv and sys.path are those of running it with python.
    """
    try:
        return launch.find(target, arguments, is_module=is_module)
    except launch.NotAProgram as error:
        raise click.UsageError(str(error)) from None


@commands.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--gc",
    "collector",
    type=click.Choice([settings.FREEZE, "stock"]),
    default=settings.FREEZE,
    show_default=True,
    help="What Python's garbage collector does with what is there once the proxy is imported.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def proxy(collector: str, arguments: tuple[str, ...]) -> launch.Program:
    """Run LiteLLM's proxy accelerated.

    \b
    litellm-accel proxy --config config.yaml --port 4000
    litellm-accel proxy --gc stock --config config.yaml --num_workers 2

    ARGUMENTS are those of the command litellm. Without --num_workers or NUM_WORKERS there is a worker for each core.
    """
    if collector == settings.FREEZE:
        os.environ[settings.GC] = settings.FREEZE
    try:
        return launch.find("litellm", launch.with_workers(arguments, os.environ))
    except launch.NotAProgram as error:
        raise click.UsageError(str(error)) from None


_PROCESS = click.option(
    "--process",
    metavar="PID|PATH",
    help="A running process: its id, its socket, or a directory of sockets; default: where LITELLM_ACCEL_STATS says.",
)


@commands.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="TARGET is a module's name, as in python -m.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a web page with a chart, too.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the lines as JSON.")
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def profile(
    is_module: bool, html: Path | None, json_file: Path | None, target: str, arguments: tuple[str, ...]
) -> launch.Program:
    """Run a program with LiteLLM accelerated, and say which of its lines make which calls.

    \b
    litellm-accel profile app.py
    litellm-accel profile --html calls.html -m package.module --option

    The table goes to standard error when the program ends: calls of each line, how many were served, why the others
    were not, the time they took, and the time that was saved. Exit code and output are the program's.
    """
    try:
        found = launch.find(target, arguments, is_module=is_module)
    except launch.NotAProgram as error:
        raise click.UsageError(str(error)) from None
    return launch.Profiled(found.target, found.arguments, found.is_module, html, json_file)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@_PROCESS
def status(as_json: bool, process: str | None) -> None:
    """Print the report of a running process, or of LiteLLM accelerated in this one.

    \b
    litellm-accel status
    litellm-accel status --process 4711
    litellm-accel status --process /run/litellm-accel

    Exit code 1 if a process does not answer.
    """
    if process is None:
        reports = [(None, _accelerate_offline())]
    else:
        from litellm_accel.report import Report

        reports = [(answer["process"], Report.of(answer["report"])) for answer in _asked(process)]
    for number, report in reports:
        if as_json:
            click.echo(json.dumps(report.to_dict(), indent=2))
        else:
            click.echo(str(report) if number is None else f"process {number}\n{report}")


@commands.command()
@_PROCESS
@click.option("--json", "as_json", is_flag=True, help="Print what each process tells as JSON.")
@click.option("--watch", is_flag=True, help="Print again and again, until interrupted.")
@click.option("--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds between.")
@click.option("--count", type=click.IntRange(1), help="With --watch: so many times.")
def stats(process: str | None, as_json: bool, watch: bool, interval: float, count: int | None) -> None:
    """Print the figures of running processes, added up: calls, share served, times, CPU time saved.

    \b
    LITELLM_ACCEL_STATS=/run/litellm-accel litellm-accel proxy --config proxy.yaml &
    litellm-accel stats --process /run/litellm-accel --watch

    Exit code 1 if no process answers.
    """
    from rich.console import Console

    from litellm_accel.operation.fleet import table

    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH
    rounds = 0
    while True:
        answers = _asked(process)
        if as_json:
            click.echo(json.dumps(answers))
        else:
            if watch and console.is_terminal:
                console.clear()
            console.print(table(answers))
        rounds += 1
        if not watch or rounds == count:
            return
        time.sleep(interval)


@commands.command()
def doctor() -> None:
    """Say in a line each what keeps LiteLLM from running accelerated here.

    \b
    litellm-accel doctor
    LITELLM_ACCEL_CONFIG=accel.json litellm-accel doctor

    Exit code 1 if anything does.
    """
    from litellm_accel import backend

    problems = settings.problems()
    if settings.is_configured():
        from litellm_accel.operation.sources import inspected

        problems += inspected()[1]
    found = diagnose(_accelerate_offline().to_dict(), backend(), problems)
    for line in found:
        click.echo(line)
    if found:
        sys.exit(1)
    click.echo("Everything is active or LiteLLM's own, compiled, and the settings make sense.")


@commands.command()
@click.option("--check", type=click.Path(path_type=Path), help="Check this file instead; exit 1 if anything is wrong.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of a settings file.")
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
def config(check: Path | None, schema: bool, as_json: bool) -> None:
    """Print the settings that hold here, and where each comes from.

    \b
    litellm-accel config
    litellm-accel config --check settings.json
    litellm-accel config --schema > settings.schema.json

    Exit code 1 if a value is not understood.
    """
    from litellm_accel.operation.schema import json_schema
    from litellm_accel.operation.sources import inspected

    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return
    rows, problems = inspected(check)
    if as_json:
        click.echo(json.dumps({"settings": rows, "problems": problems}, indent=2))
    else:
        for row in rows:
            click.echo(f"{row['key']} = {json.dumps(row['value'])}  # {row['from']}")
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, alone on standard output.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the result to one web page too.")
@click.option("--quick", is_flag=True, help="Fewer rounds: 15 seconds at most.")
def demo(as_json: bool, html: Path | None, quick: bool) -> None:
    """Run the same work in stock and in accelerated LiteLLM, compare speed and results.

    \b
    litellm-accel demo
    litellm-accel demo --quick --html demo.html

    The work goes to a provider on the loopback interface that lives as long as the demo. Exit code 1 if any result
    differs or any work fails.
    """
    from litellm_accel.demo import QUICK_SECONDS, SECONDS
    from litellm_accel.demo.work import ROWS

    _measure(ROWS, QUICK_SECONDS if quick else SECONDS, as_json, html)


@commands.command()
@click.argument("names", nargs=-1)
@click.option("--list", "only_list", is_flag=True, help="Print the names of the rows and measure nothing.")
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=1.0, show_default=True, help="Time for each row.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, alone on standard output.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the result to one web page too.")
def bench(names: tuple[str, ...], only_list: bool, seconds: float, as_json: bool, html: Path | None) -> None:
    """Measure stock and accelerated LiteLLM in turn on this machine: the work of the project's asv suites.

    \b
    litellm-accel bench                               # all, in about five minutes
    litellm-accel bench tokens 'routing.choose.*.1000'
    litellm-accel bench chat --json --html chat.html

    NAMES are names of rows, their beginnings, or patterns. Whole calls go to a provider on the loopback interface. Exit
    code 1 if any result differs or any work fails.
    """
    from litellm_accel.bench.rows import chosen

    try:
        rows = chosen(names)
    except ValueError as error:
        raise click.UsageError(f"{error}; --list prints all") from None
    if only_list:
        for row in rows:
            click.echo(row.name)
        return
    _measure(rows, seconds * len(rows), as_json, html)


@commands.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script that completes commands and options in your shell.

    \b
    litellm-accel completion bash > ~/.local/share/bash-completion/completions/litellm-accel
    litellm-accel completion fish > ~/.config/fish/completions/litellm-accel.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(commands, {}, "litellm-accel", "_LITELLM_ACCEL_COMPLETE").source())


@commands.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def verify(arguments: tuple[str, ...]) -> None:
    """Compare accelerated LiteLLM with stock here, and record what is proven."""
    from litellm_accel.verify.command import verify_command

    verify_command.main(list(arguments), prog_name="litellm-accel verify", standalone_mode=False)


def diagnose(report: Mapping[str, Any], backends: Mapping[str, Any], problems: list[str]) -> list[str]:
    """Return a line for each thing that is not as it should be.

    ``report`` is ``Report.to_dict()``, ``backends`` is ``backend()``, ``problems`` is ``settings.problems()``.
    """
    components = (
        f"component {component['name']} is {component['state']}: {component['reason']}"
        for component in report["components"]
        if component["state"] not in ("active", "native", "waiting")
    )
    fallbacks = (
        f"hot module {name} runs in pure Python: {choice.reason}"
        for name, choice in backends.items()
        if choice.kind != "compiled"
    )
    return [*components, *fallbacks, *(f"setting {problem}" for problem in problems)]


def main(command: click.Command = commands, prog_name: str = "litellm-accel") -> None:
    """Run ``command`` on ``sys.argv``; a program to run is started outside click, which would handle its exceptions."""
    try:
        outcome = command.main(prog_name=prog_name, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit("Aborted.")
    if isinstance(outcome, launch.Program):
        outcome.run()
    elif isinstance(outcome, int):  # what click's own --help and --version exit with
        sys.exit(outcome)


def _measure(rows: Sequence[Row], seconds: float, as_json: bool, html: Path | None) -> None:
    """Have ``rows`` measured and tell the result; exit with 1 if something is not as it should be."""
    from rich.console import Console

    from litellm_accel import demo as demonstration

    try:
        result = demonstration.run(seconds=seconds, rows=rows)
    except demonstration.WorkerFailed as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        console = Console()
        if not console.is_terminal:
            console.width = _WIDTH
        demonstration.print_table(result, console)
    if html is not None:
        html.write_text(demonstration.page(result), encoding="utf-8")
        click.echo(f"Written: {html}", err=True)
    if not result.ok:
        sys.exit(1)


def _asked(process: str | None) -> list[dict[str, Any]]:
    """Return what running processes tell; those that do not are named. Raises ``ClickException`` if none does."""
    from litellm_accel.operation import server, sources

    where = process
    if process is None or process.isdigit():
        place = next((row["value"] for row in sources.inspected()[0] if row["key"] == "stats"), None)
        if place is None:
            raise click.ClickException("Where to ask is not known: set LITELLM_ACCEL_STATS, or pass --process PATH.")
        where = server.socket_path(place, process or "*")
        if process is None:
            where = str(Path(where).parent)
    assert where is not None
    answers, problems = server.ask_all(where)
    for problem in problems:
        click.echo(problem, err=True)
    if not answers:
        raise click.ClickException(f"No process answers at {where}.")
    return answers


def _accelerate_offline() -> Any:
    # A look at the installation asks no network; LiteLLM fetches its price list on import unless told otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm_accel

    litellm_accel.accelerate()
    import litellm  # noqa: F401  # for which the components wait, and which nobody else imports here

    return litellm_accel.accelerate()
