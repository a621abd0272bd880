"""What is looked at before a schedule is added: a mistake is better seen now than at two in the night."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from costctl.errors import BadValueError, DaemonError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from costctl.domain.schedules import Schedule

_NEVER = ("serve", "demo", "schedule", "stop")  # what does not end, or would end the daemon that runs it
_MANY_RUNS = 300


def demand_command(words: tuple[str, ...], then: str | None) -> tuple[str, ...]:
    """Return the command to schedule, which may be given with or without `costctl`.

    Raises:
        BadValueError: it is none that can be scheduled.
        click.UsageError: there is none.
    """
    from costctl.cli.root import COMMANDS

    words = words[1:] if words[:1] == ("costctl",) else words
    if not words:
        raise click.UsageError("give the command after --, as in: -- batch jobs.jsonl -o out-{date}.jsonl")
    if words[0] not in COMMANDS or words[0] in _NEVER:
        allowed = ", ".join(command for command in COMMANDS if command not in _NEVER)
        raise BadValueError(f"{words[0]!r} is no command of costctl that can be scheduled: {allowed}")
    if then is None:
        return words
    if words[0] != "batch":
        raise BadValueError(f"--then is for `batch`, not for {words[0]!r}")
    end = words.index("--") if "--" in words else len(words)  # what follows is for the engine
    return (*words[:end], "--then", then, *words[end:])


def remarks_on(made: Schedule, due_at: datetime) -> Iterator[str]:
    """Yield what people should know about a schedule that is added.

    Raises:
        BadValueError: its command would not be understood.
        RefusedError: it would fail each time, as things are.
    """
    if not made.folder.isprintable():
        raise BadValueError(f"the name of this folder, {made.folder!r}, cannot be written into a ledger or a crontab")
    told = _parsed(made.arguments_at(due_at))
    if "then" not in told:  # it is no batch
        return
    if told["file"] == "-":
        raise BadValueError("a schedule has no standard input: name a file instead of -")
    yield from _on_files(made, due_at, told)
    if told["then"] == "shutdown":
        yield from _on_shutdown()


def _parsed(words: tuple[str, ...]) -> Mapping[str, Any]:
    """Return what a command would be told."""
    try:
        command, context, rest = _found(list(words))
        if any(isinstance(parameter.type, click.File) for parameter in command.params):
            return {}  # to understand it would open the file, which may come yet
        return command.make_context(words[0], rest, parent=context).params
    except click.UsageError as error:
        raise BadValueError(f"`costctl {shlex.join(words)}` would fail: {error.format_message()}") from None


def _found(rest: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    from costctl.cli.root import cli

    found: click.Command | None = cli
    context = click.Context(cli, info_name="costctl")
    while isinstance(found, click.Group):
        if not rest:
            raise click.UsageError(f"it needs more than that: see `costctl {found.name} --help`")
        _, found, rest = found.resolve_command(context, rest)
    assert found is not None  # noqa: S101 - click raises where there is none
    return found, context, rest


def _on_files(made: Schedule, due_at: datetime, told: Mapping[str, Any]) -> Iterator[str]:
    from pathlib import Path

    path = Path(made.folder) / told["file"]
    if not path.exists():
        yield f"{path} is not there yet, and without it the run will fail"
    if not told["restart"] and _repeats_itself(made, due_at):
        yield (
            "several runs have one results file: the later ones do only what is left of it, and are refused if "
            f"{path.name} has changed; name a file for each with -o out-{{date}}-{{time}}.jsonl"
        )


def _repeats_itself(made: Schedule, due_at: datetime | None) -> bool:
    """Return whether a later run, of so many that the clock comes round, has the same words as an earlier one."""
    seen: set[tuple[str, ...]] = set()
    for _ in range(_MANY_RUNS):
        if due_at is None:
            return False
        words = made.arguments_at(due_at)
        if words in seen:
            return True
        seen.add(words)
        due_at = made.next_due(due_at)
    return False


def _on_shutdown() -> Iterator[str]:
    from costctl.cli.client import ask
    from costctl.config.settings import stops_instance
    from costctl.wiring import load_settings

    needs = (
        "--then shutdown needs a daemon that stops the machine: `costctl serve --on-idle poweroff` or 'command: ...'"
    )
    try:
        on_idle = ask("GET", "/status")["on_idle"]
    except DaemonError:
        if not load_settings({}).settings.stops_instance:
            yield f"{needs}; as configured it would not"
        return
    if not stops_instance(on_idle):
        raise RefusedError(f"{needs}; the one that runs has --on-idle {on_idle}, so each run would be refused")
