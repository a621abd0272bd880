"""A batch that the daemon runs because it was ordered over HTTP.

What happens is told as JSON lines on standard output: `problems` if lines cannot be sent, else `checked`, then
`progress` whenever the daemon tells something, at last `ended`. Exit codes are those of `costctl batch FILE`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from costctl.cli.client import ask, home

if TYPE_CHECKING:
    from costctl.batch.conduct import End
    from costctl.batch.journal import Journal
    from costctl.wiring.batch import Order

_AWAY_PATIENCE_S = 10.0
"""It ends with the daemon anyway."""


@click.command("for-daemon", hidden=True)
@click.argument("file")
@click.argument("output")
@click.argument("endpoint")
@click.pass_context
def for_daemon(ctx: click.Context, /, *, file: str, output: str, endpoint: str) -> None:
    """Run a file whose lines are all for one endpoint, through the daemon that runs."""
    from costctl.batch.checking import check
    from costctl.batch.defaults import Defaults
    from costctl.batch.forgiveness import MaxFailures
    from costctl.batch.journal import Journal
    from costctl.batch.paths import BatchPaths
    from costctl.batch.sources import open_source
    from costctl.cli.batch_summary import exit_code
    from costctl.domain.batches import Wish
    from costctl.wiring.batch import Order

    paths = BatchPaths(results=Path(output))
    name = Path(file).name  # clients read the messages: where it lies is not theirs to know
    source = replace(open_source(file, paths), name=name)
    defaults = Defaults(model=str(ask("GET", "/status")["model"]))
    checked = check(source, defaults, endpoint=endpoint)
    if checked.problem_count:
        _tell("problems", problems=[{"line": each.line, "text": each.text} for each in checked.problems])
    checked.demand_sound()
    _tell("checked", lines=checked.total)
    with Journal.open(paths, checked.fingerprint, checked.total) as journal:
        order = Order(
            source=source,
            defaults=defaults,
            checked=checked,
            wish=Wish(name=name, lines=checked.total - journal.done_count),
            in_order=False,
            shall_follow=lambda _: False,
        )
        end = None if journal.is_finished else _run(order, journal)
        _tell_progress("ended", journal, order, ended=end.how.value if end else "", why=end.why if end else "")
        ctx.exit(exit_code(end, journal, checked.total, MaxFailures()))


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


def _tell_progress(event: str, journal: Journal, order: Order, **more: str) -> None:
    _tell(event, lines=order.checked.total, done=journal.done_count, failed=journal.failed_count, **more)


def _tell(event: str, **told: Any) -> None:
    click.echo(json.dumps({"event": event, **told}))
