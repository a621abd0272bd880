"""Sessions and months as tables for people: 80 to 120 columns, plain ASCII unless on a terminal."""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.money import MICRO, format_amount
from costctl.domain.standing import When
from costctl.reports.printing import print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from costctl.domain.money import Price
    from costctl.domain.sessions import Instance, Session
    from costctl.reports.figures import MonthReport, SessionFigure

_GPU = "<GPU"


def print_month(report: MonthReport, console: Console, *, newest: Session | None = None) -> None:
    """Print the sessions of a month and what they add up to; of an empty one, when the `newest` session was."""
    if not report.rows:
        console.print(f"no sessions in {report.month}")
        if newest is not None:
            console.print(f"the newest session began on {newest.started_at.astimezone(report.zone):%Y-%m-%d}")
        _print_standing(report, console, 2)
        return
    decimals = _decimals(total.cost_micros for total in report.totals)
    console.print(_headline(report, decimals), style="bold")
    console.print()
    _print_rows(report, console, decimals)
    console.print()
    _print_totals(report, console, decimals)
    _print_standing(report, console, decimals)
    for note in _notes(report):
        console.print(note)


def print_sessions(sessions: Sequence[Session], console: Console, zone: ZoneInfo) -> None:
    """Print sessions, oldest first."""
    if not sessions:
        console.print("no sessions")
        return
    rows = [
        [
            f"{session.started_at.astimezone(zone):%Y-%m-%d %H:%M}",
            _end_of(session, zone),
            _gpu(session.instance),
            _unit_price(session.price),
            _money(session.cost(), session.price, _decimals([session.cost() or 0])),
            session.end_reason or "open",
        ]
        for session in sessions
    ]
    print_table(console, ["started", "ended", _GPU, ">price", ">cost", "end"], rows)
    console.print(f"times in {zone}")


def _headline(report: MonthReport, decimals: int) -> str:
    count = len(report.rows)
    costs = [f"{format_amount(total.cost_micros, decimals=decimals)} {total.currency}" for total in report.totals]
    parts = [f"{count} session{'s' * (count != 1)}", _length(report.length), *(costs or ["cost unknown"])]
    return f"{report.month}: {', '.join(parts)} (times in {report.zone})"


def _print_rows(report: MonthReport, console: Console, decimals: int) -> None:
    rows = [
        [
            ("<" if row.began_before else "") + _day(row.started_at, report.zone),
            _day(row.ended_at, report.zone) + (">" if row.went_on_after else ""),
            _minutes(row.length),
            _gpu(row.instance),
            _unit_price(row.price),
            _money(row.cost_micros, row.price, decimals),
            _ending(row),
        ]
        for row in report.rows
    ]
    print_table(console, ["started", "ended", ">minutes", _GPU, ">price", ">cost", "end"], rows)


def _print_totals(report: MonthReport, console: Console, decimals: int) -> None:
    lengths = report.phase_lengths
    columns = [_rounded([total.phase_micros.get(phase, 0) for phase in lengths], decimals) for total in report.totals]
    rows = [
        [phase, _minutes(length), f"{length / report.length:.1%}", *(column[number] for column in columns)]
        for number, (phase, length) in enumerate(lengths.items())
    ]
    whole = [format_amount(total.cost_micros, decimals=decimals) for total in report.totals]
    headings = ["phase", ">minutes", ">share", *(f">{total.currency}" for total in report.totals)]
    print_table(console, headings, rows, footer=["all", _minutes(report.length), "", *whole])


def _print_standing(report: MonthReport, console: Console, decimals: int) -> None:
    if not report.standing:
        return
    rows = [
        [
            figure.charge.name,
            f"{format_amount(figure.charge.micros_per_month)} {figure.charge.currency}/month",
            "" if figure.charge.when is When.ALWAYS else f"while {figure.charge.when}",
            f"{format_amount(figure.cost_micros, decimals=decimals)} {figure.charge.currency}",
        ]
        for figure in report.standing
    ]
    console.print()
    print_table(console, ["standing charge", ">price", "when", ">cost"], rows)
    costs = (
        f"{format_amount(micros, decimals=decimals)} {code}" for code, micros in report.costs_with_standing.items()
    )
    console.print(f"sessions and standing charges: {', '.join(costs)}")


def _notes(report: MonthReport) -> Iterable[str]:
    rules = sorted({row.rule for row in report.rows if row.rule})
    if rules:
        yield f"Billed by the rule of {', '.join(rules)}; `costctl billing show` explains a session's bill."
    if report.unpriced_count:
        sessions = f"{report.unpriced_count} session{'s' * (report.unpriced_count != 1)}"
        yield f"{sessions} ({_length(report.unpriced_length)}) of unknown price: not in any sum of money."
        yield "Say what an hour costs with `costctl serve --price '1.8 CNY/h'` or in the configuration."
    if any(row.began_before or row.went_on_after for row in report.rows):
        yield "< began before this month, > went on after it: only the part in the month is counted."


def gpu_name(instance: Instance) -> str:
    """Return the GPUs of `instance` in short."""
    return _gpu(instance)


def _end_of(session: Session, zone: ZoneInfo) -> str:
    if session.ended_at is None:
        return ""
    begin, end = session.started_at.astimezone(zone), session.ended_at.astimezone(zone)
    return f"{end:%H:%M}" if begin.date() == end.date() else f"{end:%m-%d %H:%M}"


def _ending(row: SessionFigure) -> str:
    if row.went_on_after:
        return ""
    return row.end_reason or "open"


def _day(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%d %H:%M}"


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:.1f}"


def _length(length: timedelta) -> str:
    return format_duration(length.total_seconds())


def _gpu(instance: Instance) -> str:
    name = (instance.gpu or "-").removeprefix("NVIDIA ")
    return f"{instance.gpu_count}x {name}" if instance.gpu_count > 1 else name


def _unit_price(price: Price | None) -> str:
    return str(price) if price else "unknown"


def _money(micros: int | None, price: Price | None, decimals: int) -> str:
    if micros is None or price is None:
        return "unknown"
    return f"{format_amount(micros, decimals=decimals)} {price.currency}"


def _rounded(amounts: Iterable[int], decimals: int) -> list[str]:
    """Round where the sums so far fall, so that what is printed adds up to the sum that is printed below it."""
    unit = MICRO // 10**decimals
    edges = [round(Fraction(reached, unit)) * unit for reached in accumulate(amounts, initial=0)]
    return [format_amount(after - before, decimals=decimals) for before, after in pairwise(edges)]


def _decimals(amounts: Iterable[int]) -> int:
    """Small sums need more decimals to say anything."""
    return 2 if max(amounts, default=0) >= MICRO else 4
