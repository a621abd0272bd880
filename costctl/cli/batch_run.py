"""`costctl batch FILE`: check it, run it, say what came of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import click

from costctl.batch.forgiveness import MaxFailures
from costctl.batch.values import Identical
from costctl.cli.batch_daemon import daemon_for, pass_on_warnings, read_status, say, served_model
from costctl.cli.client import home
from costctl.domain.batches import RUN_VARIABLE, Then
from costctl.domain.durations import parse_duration
from costctl.errors import BadValueError, EngineStartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from costctl.batch.checking import Checked
    from costctl.batch.conduct import End
    from costctl.batch.defaults import Defaults
    from costctl.batch.journal import Journal
    from costctl.batch.paths import BatchPaths
    from costctl.domain.batches import Wish
    from costctl.wiring.batch import Order, Outcome

_AWAY_PATIENCE_S, _OWN_AWAY_PATIENCE_S = 120.0, 5.0


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:  # noqa: ARG001 - click's shape
    """Return the seconds of a duration like 30m."""
    try:
        return None if value is None else parse_duration(value)
    except BadValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.argument("file")
@click.option("-o", "--output", metavar="FILE", help="Where results go; without it, FILE.results.jsonl beside FILE.")
@click.option("--model", metavar="NAME", help="Model, for lines that name none.")
@click.option("--max-tokens", type=click.IntRange(min=1), metavar="N", help="Most tokens of an answer, likewise.")
@click.option("--temperature", type=float, metavar="X", help="Temperature, likewise.")
@click.option("--system", metavar="TEXT", help="System message, likewise.")
@click.option("--extra-body", metavar="JSON", help="More fields for every request.")
@click.option(
    "--identical",
    type=click.Choice([each.value for each in Identical]),
    default=Identical.AUTO.value,
    help="Compute identical requests once, or each of them. auto: once, unless they ask for samples, which is a "
    "temperature above 0 without a seed.",
)
@click.option("--in-order", is_flag=True, help="Write results in the order of the lines.")
@click.option("--rerun-failed", is_flag=True, help="Send lines that failed once more.")
@click.option("--restart", is_flag=True, help="Throw away what was done, and begin anew.")
@click.option("--max-failures", default="0", metavar="N|N%", help="So many failed lines still are a success.")
@click.option(
    "--timeout", callback=_seconds, metavar="TIME", help="Cancel the batch after so long; it can be gone on with."
)
@click.option(
    "--no-progress",
    callback=_seconds,
    default="30m",
    metavar="TIME",
    show_default=True,
    help="... or so long without an answer.",
)
@click.option("--share", "shares", is_flag=True, help="Do not wait for other batches; run beside them.")
@click.option(
    "--then",
    type=click.Choice([each.value for each in Then]),
    default=Then.NOTHING.value,
    help="When all lines succeeded: stop the machine (as --on-idle of the daemon says), only the engine, or neither.",
)
@click.option("--even-if-failed", is_flag=True, help="Do that also if it failed.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--dry-run", is_flag=True, help="Only check the file.")
@click.argument("engine_args", nargs=-1, type=click.UNPROCESSED, metavar="[-- ENGINE ARGS]")
@click.pass_context
def run(ctx: click.Context, /, *, file: str, dry_run: bool, as_json: bool, **options: Any) -> None:
    """Run a batch; the default command of `costctl batch`."""
    forgiving = MaxFailures.parse(options["max_failures"])
    from costctl.batch.checking import check
    from costctl.batch.sources import open_source
    from costctl.cli.batch_summary import Summary, exit_code

    paths = _paths(file, options["output"])
    source = open_source(file, paths)
    status = read_status()
    defaults = _defaults(options, model=options["model"] or served_model(status, options["engine_args"]))
    checked = check(source, defaults, identical=Identical(options["identical"]))
    checked.demand_sound()
    if dry_run:
        _say_checked(checked, as_json=as_json)
        return
    from costctl.batch.journal import Journal
    from costctl.wiring.batch import Order

    restart, rerun = options["restart"], options["rerun_failed"]
    with Journal.open(paths, checked.fingerprint, checked.total, restart=restart, rerun_failed=rerun) as journal:
        outcome = None
        if not journal.is_finished or options["then"] != Then.NOTHING:  # `&& shutdown` too does it each time
            order = Order(
                source=source,
                defaults=defaults,
                checked=checked,
                wish=_wish(checked, journal, options),
                in_order=options["in_order"],
                shall_follow=lambda end: _shall_follow(end, journal, checked, forgiving, options),
            )
            outcome = _run(order, journal, options)
        code = exit_code(outcome.end if outcome else None, journal, checked.total, forgiving)
        summary = Summary(
            name=_name(checked),
            results=str(paths.results),
            errors=str(paths.errors) if journal.failed_count else None,
            lines=checked.total,
            done=journal.done_count,
            failed=journal.failed_count,
            outcome=outcome,
            exit_code=code,
        )
    click.echo(json.dumps(summary.as_json(), indent=2) if as_json else summary.as_text())
    ctx.exit(code)


def _paths(file: str, output: str | None) -> BatchPaths:
    from pathlib import Path

    from costctl.batch.paths import BatchPaths

    if output is None and file == "-":
        raise BadValueError("standard input has no name to call the results after: give -o FILE")
    source = Path(file.removesuffix(".gz"))
    return BatchPaths(results=Path(output) if output else source.with_name(f"{source.stem}.results.jsonl"))


def _defaults(options: Mapping[str, Any], *, model: str) -> Defaults:
    from costctl.batch.defaults import Defaults, read_extra_body

    own = {name: options[name] for name in ("max_tokens", "temperature", "system")}
    extra = {} if options["extra_body"] is None else read_extra_body(options["extra_body"])
    try:
        return Defaults(**own, model=model, extra_body=extra)
    except ValueError as error:
        raise BadValueError(str(error)) from None


def _wish(checked: Checked, journal: Journal, options: Mapping[str, Any]) -> Wish:
    from costctl.domain.batches import Wish

    return Wish(
        name=_name(checked),
        lines=min(checked.unique_requests, checked.total - journal.done_count),
        shares=options["shares"],
        then=Then(options["then"]),
        no_progress_s=options["no_progress"],
        timeout_s=options["timeout"],
        schedule_run=_schedule_run(),
    )


def _schedule_run() -> int | None:
    """Return which run of a schedule this is; a daemon that it starts is none, so the environment says it only once."""
    number = os.environ.pop(RUN_VARIABLE, "")
    return int(number) if number.isascii() and number.isdecimal() else None


def _name(checked: Checked) -> str:
    return checked.name.rpartition("/")[2]


def _run(order: Order, journal: Journal, options: Mapping[str, Any]) -> Outcome:
    """Run the batch and say what is worth saying besides its outcome."""
    if repeats := order.checked.total - order.checked.unique_requests:
        say(f"{repeats:,} lines ask for the same as earlier ones and get their answers; --identical each computes all")
    try:
        outcome = _run_with_daemon(order, journal, options["engine_args"])
    except EngineStartError:
        if options["even_if_failed"] and order.wish.then is Then.SHUTDOWN:
            say("without a daemon --then shutdown cannot be done: THE MACHINE IS STILL ON")
        raise
    if outcome.error is not None:
        raise outcome.error
    return outcome


def _run_with_daemon(order: Order, journal: Journal, engine_args: Sequence[str]) -> Outcome:
    """Run the batch through the daemon that runs, else through one of its own."""
    from costctl.batch.tally import Tally
    from costctl.cli.batch_showing import showing
    from costctl.wiring.batch import run_batch

    tally = Tally()
    with daemon_for(order, engine_args) as own, showing(tally, journal, order.checked.total) as show:
        outcome = run_batch(
            order,
            journal,
            control_socket=home().control_socket,
            away_patience_s=_OWN_AWAY_PATIENCE_S if own else _AWAY_PATIENCE_S,
            tally=tally,
            show=show,
        )
        pass_on_warnings()
        if own and outcome.follows and order.wish.then is Then.SHUTDOWN:
            own.leave_alone()
    return outcome


def _shall_follow(
    end: End, journal: Journal, checked: Checked, forgiving: MaxFailures, options: Mapping[str, Any]
) -> bool:
    """Return whether what was wished for after the batch is to be done."""
    from costctl.batch.conduct import How

    if end.how is How.INTERRUPTED:
        return False
    succeeded = end.how is How.THROUGH and forgiving.forgives(journal.failed_count, checked.total)
    return succeeded or bool(options["even_if_failed"])


def _say_checked(checked: Checked, *, as_json: bool) -> None:
    forms = sorted(checked.forms)
    if as_json:
        found = {"name": checked.name, "lines": checked.total, "unique_requests": checked.unique_requests}
        click.echo(json.dumps({**found, "forms": forms, "models": checked.models}, indent=2))
        return
    repeats = checked.total - checked.unique_requests
    repeated = f", {repeats:,} of them get the answer of an earlier one" if repeats else ""
    told = f"{', '.join(forms)}; for {', '.join(checked.models)}"
    click.echo(f"{checked.name}: {checked.total:,} lines{repeated} ({told}); all sound")
