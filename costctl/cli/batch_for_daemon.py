"""A batch that the daemon runs because it was ordered over HTTP.

It runs in the folder of its files, so that no message tells clients where that is. What happens is told as JSON lines
on standard output: `problems` if lines cannot be sent, else `checked`, then `progress` whenever the daemon tells
something, `full` if the disk is, at last `ended`, with the tokens used if no line is left. Exit codes are those of
`costctl batch FILE`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costctl.cli.client import home
from costctl.errors import StorageFullError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.batch.checking import Checked
    from costctl.batch.conduct import End
    from costctl.batch.defaults import Defaults
    from costctl.batch.journal import Journal
    from costctl.batch.paths import BatchPaths
    from costctl.batch.sources import Source
    from costctl.wiring.batch import Order

_AWAY_PATIENCE_S = 10.0
"""It ends with the daemon anyway."""


@click.command("for-daemon", hidden=True)
@click.argument("file")
@click.argument("output")
@click.argument("endpoint")
@click.option("--model", required=True, help="What lines are for that name none.")
@click.option("--give-up", nargs=2, metavar="CODE MESSAGE", help="Send nothing: lines that are not done fail of this.")
@click.pass_context
def for_daemon(
    ctx: click.Context, /, *, file: str, output: str, endpoint: str, model: str, give_up: tuple[str, str] | None
) -> None:
    """Run a file whose lines are all for one endpoint, through the daemon that runs."""
    from costctl.batch.defaults import Defaults
    from costctl.batch.forgiveness import MaxFailures
    from costctl.batch.journal import Journal
    from costctl.batch.paths import BatchPaths
    from costctl.batch.sources import open_source
    from costctl.cli.batch_summary import exit_code

    paths = BatchPaths(results=Path(output))
    source = open_source(file, paths)
    defaults = Defaults(model=model)
    checked = _check(source, defaults, endpoint)
    with _told_if_full(), Journal.open(paths, checked.fingerprint, checked.total) as journal:
        order = _order(source, defaults, checked, journal)
        end = None
        if give_up is not None and not journal.is_finished:
            _give_up(order, journal, *give_up)
        elif not journal.is_finished:
            end = _run(order, journal)
        _tell_end(end, journal, order, paths)
        ctx.exit(exit_code(end, journal, checked.total, MaxFailures()))


def _check(source: Source, defaults: Defaults, endpoint: str) -> Checked:
    from costctl.batch.checking import check

    checked = check(source, defaults, endpoint=endpoint)
    if checked.problem_count:
        problems = [{"line": each.line, "text": each.text} for each in checked.problems]
        _tell("problems", problems=problems, count=checked.problem_count)
    checked.demand_sound()
    _tell("checked", lines=checked.total, models=checked.models)
    return checked


@contextmanager
def _told_if_full() -> Iterator[None]:
    try:
        yield
    except StorageFullError:
        _tell("full")
        raise


def _order(source: Source, defaults: Defaults, checked: Checked, journal: Journal) -> Order:
    from costctl.domain.batches import Wish
    from costctl.wiring.batch import Order

    return Order(
        source=source,
        defaults=defaults,
        checked=checked,
        wish=Wish(name=source.name, lines=checked.total - journal.done_count),
        in_order=False,
        shall_follow=lambda _: False,
    )


def _give_up(order: Order, journal: Journal, code: str, message: str) -> None:
    from costctl.batch.leftovers import give_up
    from costctl.batch.results import Failure

    give_up(order.work, journal, Failure(code=code, message=message))


def _run(order: Order, journal: Journal) -> End:
    from costctl.batch.tally import Tally
    from costctl.wiring.batch import run_batch

    outcome = run_batch(
        order,
        journal,
        control_socket=home().control_socket,
        away_patience_s=_AWAY_PATIENCE_S,
        tally=Tally(),
        show=lambda *_: _tell_progress("progress", journal, order),
    )
    if outcome.error is not None:
        raise outcome.error
    return outcome.end


def _tell_end(end: End | None, journal: Journal, order: Order, paths: BatchPaths) -> None:
    from costctl.batch.usage import usage_in

    usage = asdict(usage_in(paths.results)) if journal.is_finished else None
    how, why = (end.how.value, end.why) if end else ("", "")
    _tell_progress("ended", journal, order, ended=how, why=why, usage=usage)


def _tell_progress(event: str, journal: Journal, order: Order, **more: Any) -> None:
    _tell(event, lines=order.checked.total, done=journal.done_count, failed=journal.failed_count, **more)


def _tell(event: str, **told: Any) -> None:
    click.echo(json.dumps({"event": event, **told}))
