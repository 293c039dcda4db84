"""The command line, ``litellm-accel``. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from litellm_accel import __version__, launch


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Make LiteLLM faster without changing the application."""


# Options end at the target: what follows belongs to the program, its own --help included.
@commands.command(context_settings={"allow_interspersed_args": False})
@click.option("-m", "is_module", is_flag=True, help="TARGET is a module's name, as in python -m.")
@click.argument("target")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(is_module: bool, target: str, arguments: tuple[str, ...]) -> launch.Program:
    """Run a program with LiteLLM accelerated.

    TARGET is a Python file, a directory or archive with a __main__.py, a module (-m), or a console script such as
    litellm. Exit code, sys.argv and sys.path are those of running it with python.
    """
    try:
        return launch.find(target, arguments, is_module=is_module)
    except launch.NotAProgram as error:
        raise click.UsageError(str(error)) from None


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def status(as_json: bool) -> None:
    """Accelerate LiteLLM in this process and print the report."""
    report = _accelerate_offline()
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))


@commands.command()
def doctor() -> None:
    """Say in a line each what keeps LiteLLM from running accelerated here; exit 1 if anything does."""
    from litellm_accel import backend, settings

    found = diagnose(_accelerate_offline().to_dict(), backend(), settings.problems())
    for line in found:
        click.echo(line)
    if found:
        sys.exit(1)
    click.echo("Everything is active or LiteLLM's own, compiled, and the settings make sense.")


@commands.command()
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON, alone on standard output.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the result to one web page too.")
@click.option("--quick", is_flag=True, help="Fewer rounds: 15 seconds at most.")
def demo(as_json: bool, html: Path | None, quick: bool) -> None:
    """Run the same work in stock and in accelerated LiteLLM, compare speed and results.

    The work goes to a provider on the loopback interface that lives as long as the demo. Exit code 1 if any result
    differs or any work fails.
    """
    from litellm_accel import demo as demonstration

    try:
        result = demonstration.run(quick=quick)
    except demonstration.WorkerFailed as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        demonstration.print_table(result)
    if html is not None:
        html.write_text(demonstration.page(result), encoding="utf-8")
        click.echo(f"Written: {html}", err=True)
    if not result.ok:
        sys.exit(1)


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
        if component["state"] not in ("active", "native")
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


def _accelerate_offline() -> Any:
    # A look at the installation asks no network; LiteLLM fetches its price list on import unless told otherwise.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm_accel

    litellm_accel.accelerate()
    import litellm  # noqa: F401  # for which the components wait, and which nobody else imports here

    return litellm_accel.accelerate()
