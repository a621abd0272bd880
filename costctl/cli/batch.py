"""`costctl batch`: a file of requests, and the batches that are under way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from costctl.cli.batch_for_daemon import for_daemon
from costctl.cli.batch_run import run
from costctl.cli.client import ask
from costctl.errors import BadValueError, DaemonNotRunningError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from costctl.wiring.batch_history import Stretch

_EPILOG = """\b
Examples:
  costctl batch jobs.jsonl
  costctl batch prompts.csv -o answers.jsonl --max-tokens 200 --then shutdown
  zcat more.jsonl.gz | costctl batch - -o more.results.jsonl
  costctl batch jobs.jsonl --dry-run        # check every line, start nothing
  costctl batch list
  costctl batch cancel 3

The same command goes on where a batch was left, however it ended. A file that is called like a command is named with
its folder: ./list. Exit codes: 0 all lines succeeded; 4 some failed (--max-failures forgives); 3 the engine did not
start; 130 interrupted; 1 broken off: the disk is full, cancelled, the daemon stays away; 2 a bad file or option; 5 the
results are of another batch.
"""


_NEWEST = 20
_HEADINGS = ("<name", "<started", "<ended", "<end", ">lines", ">failed", ">tokens in", ">tokens out", ">cost")


class _FileOrCommand(click.Group):
    """A group whose default command takes a file: `costctl batch FILE` is `costctl batch run FILE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._with_command(ctx, args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, self._with_command(ctx, args))

    def _with_command(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            return [run.name or "run", *args]
        return args

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "FILE [OPTIONS] [-- ENGINE ARGS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        run.format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=_FileOrCommand, epilog=_EPILOG)
def batch() -> None:
    """Send a file of requests through the engine, as many at once as it takes.

    Lines are OpenAI batch requests, {"prompt": ...}, {"messages": [...]}, or CSV with a column `prompt`; .gz or - for
    standard input are fine. All are checked before anything is started. A running daemon is used, else one of its own
    that is stopped at the end. Results come in OpenAI's format; lines that failed go into a file of their own.
    """


batch.add_command(run)
batch.add_command(for_daemon)


@batch.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def list_(*, as_json: bool) -> None:
    """List the batches that run or wait, and the newest of the earlier ones."""
    under_way, earlier = _under_way(), _earlier(last=_NEWEST)
    if as_json:
        click.echo(json.dumps({"under_way": under_way, "earlier": [each.as_json() for each in earlier]}, indent=2))
        return
    if not under_way and not earlier:
        click.echo("no batches")
    if under_way:
        _print(["<id", "<name", "<state", ">done", ">of", ">failed"], map(_cells, under_way))
    if earlier:
        _print_stretches(earlier, under_way)


@batch.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show(*, name: str, as_json: bool) -> None:
    """Show all work on a batch, by its file's name: every run of it, and what that cost."""
    found = _earlier(name)
    if not found:
        raise BadValueError(f"the ledger knows no batch {name!r}: see `costctl batch list`")
    if as_json:
        click.echo(json.dumps([each.as_json() for each in found], indent=2))
    else:
        _print_stretches(found, _under_way())


@batch.command()
@click.argument("batch_id", metavar="ID", type=int)
def cancel(*, batch_id: int) -> None:
    """Cancel a batch that runs or waits; its results so far stay, and the same command goes on with it."""
    if batch_id not in [each["id"] for each in _under_way()]:
        raise BadValueError(f"there is no batch {batch_id}: see `costctl batch list`")
    ask("POST", f"/batches/{batch_id}/cancel")
    click.echo(f"batch {batch_id} is cancelled")


def _under_way() -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = ask("GET", "/batches")["batches"]
    except DaemonNotRunningError:
        return []
    return found


def _earlier(name: str | None = None, *, last: int | None = None) -> list[Stretch]:
    from costctl.errors import LedgerMissingError
    from costctl.wiring.batch_history import read_history

    try:
        return read_history(name, last=last)
    except LedgerMissingError:
        return []


def _cells(each: dict[str, Any]) -> list[str]:
    state = f"queued at place {each['place']}" if each["state"] == "queued" else each["state"]
    counts = (f"{each[name]:,}" for name in ("requests", "lines", "failed"))
    return [str(each["id"]), each["name"], state, *counts]


def _print_stretches(found: Sequence[Stretch], under_way: Sequence[dict[str, Any]]) -> None:
    names = {each["name"] for each in under_way}
    _print(_HEADINGS, (each.cells(is_under_way=each.batch.name in names) for each in found))


def _print(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from costctl.reports.printing import console_for, print_table

    print_table(console_for(), headings, list(rows))
