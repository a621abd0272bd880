"""The ledger table of the field: every session with its time, machine, price, cost and phases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.domain.instants import length_of
from costctl.domain.sessions import Phase
from costctl.reports.figures import NOTHING
from costctl.reports.names import gpu_name, reason_name
from costctl.reports.outline import Amount, Column, Length, Moment, Notes, Section, Table
from costctl.reports.summary import cost_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from costctl.reports.figures import Report, SessionFigure
    from costctl.reports.outline import Block, Cell, MomentForm
    from costctl.reports.wording import Wording

_SHOWN = (Phase.STARTING, Phase.BUSY, Phase.IDLE)
_DAYS_OF_A_YEAR = 366
_OTHERS = tuple(phase for phase in Phase if phase not in _SHOWN)


def sessions_section(report: Report, words: Wording, limit: int | None = None) -> Section:
    """Return the sessions in the order of their starts; of more than `limit` the costliest, and the rest as one row."""
    shown = _costliest(report.rows, limit)
    blocks: list[Block] = [_table(report, shown, words)]
    notes = tuple(_notes(report, len(shown), words))
    if notes:
        blocks.append(Notes(notes))
    return Section(key="sessions", title=words.say("Sessions"), blocks=tuple(blocks))


def _costliest(rows: Sequence[SessionFigure], limit: int | None) -> Sequence[SessionFigure]:
    if limit is None or len(rows) <= limit:
        return rows
    dear = sorted(rows, key=lambda row: (row.cost_micros or 0, row.length), reverse=True)[:limit]
    return sorted(dear, key=lambda row: (row.started_at, row.session_id))


def _table(report: Report, shown: Sequence[SessionFigure], words: Wording) -> Table:
    columns = (
        Column(heading=words.say("started")),
        Column(heading=words.say("ended")),
        Column(heading=words.say("minutes"), numeric=True, adds_up=True),
        Column(heading=words.say("GPU"), shrinks=True),
        Column(heading=words.say("price"), numeric=True),
        *cost_columns(report, words),
        Column(heading=words.say("starting"), numeric=True, spare=True),
        Column(heading=words.say("busy"), numeric=True, spare=True),
        Column(heading=words.say("idle"), numeric=True, spare=True),
        Column(heading=words.say("other"), numeric=True, spare=True),
        Column(heading=words.say("end")),
    )
    form: MomentForm = "minute" if len(report.period.days) > _DAYS_OF_A_YEAR else "short"
    rows = [_row(report, row, form, words) for row in shown]
    if len(shown) < len(report.rows):
        rows.append(_rest(report, shown, words))
    return Table(key="sessions", columns=columns, rows=tuple(rows), footer=_footer(report, words))


def _row(report: Report, row: SessionFigure, form: MomentForm, words: Wording) -> tuple[Cell, ...]:
    return (
        Moment(row.started_at, form),
        Moment(row.ended_at, form),
        Length(row.length, "minutes"),
        gpu_name(row.instance),
        Amount(micros=row.price.micros_per_hour, currency=row.price.currency, per="h") if row.price else None,
        *(_cost([row], total.currency) if row.currency in {total.currency, None} else "" for total in report.totals),
        *_phase_lengths([row]),
        _end(row, words),
    )


def _end(row: SessionFigure, words: Wording) -> str:
    going_on = words.say("open") if row.is_open else ">"
    end = going_on if row.is_open or row.went_on_after else reason_name(row.end_reason, words)
    return f"< {end}" if row.began_before else end


def _rest(report: Report, shown: Sequence[SessionFigure], words: Wording) -> tuple[Cell, ...]:
    known = {row.session_id for row in shown}
    rest = [row for row in report.rows if row.session_id not in known]
    return (
        words.count("{number} other", "{number} others", len(rest)),
        "",
        Length(_sum(rest), "minutes"),
        "",
        "",
        *(_cost(rest, total.currency) for total in report.totals),
        *_phase_lengths(rest),
        "",
    )


def _footer(report: Report, words: Wording) -> tuple[Cell, ...]:
    return (
        words.say("all"),
        "",
        Length(report.length, "minutes"),
        "",
        "",
        *(Amount(micros=total.cost_micros, currency=total.currency) for total in report.totals),
        *_lengths(report.phase_lengths),
        "",
    )


def _cost(rows: Sequence[SessionFigure], currency: str) -> Cell:
    if all(row.cost_micros is None for row in rows):
        return None
    return Amount(micros=sum(row.cost_micros or 0 for row in rows if row.currency == currency), currency=currency)


def _phase_lengths(rows: Iterable[SessionFigure]) -> Iterator[Length]:
    lengths = dict.fromkeys(Phase, 0)
    for row in rows:
        for phase, figure in row.phases.items():
            lengths[phase] += figure.length_us
    return _lengths({phase: length_of(length) for phase, length in lengths.items()})


def _lengths(lengths: Mapping[Phase, timedelta]) -> Iterator[Length]:
    for phase in _SHOWN:
        yield Length(lengths.get(phase, NOTHING), "minutes")
    yield Length(sum((lengths.get(phase, NOTHING) for phase in _OTHERS), NOTHING), "minutes")


def _sum(rows: Iterable[SessionFigure]) -> timedelta:
    return sum((row.length for row in rows), NOTHING)


def _notes(report: Report, shown: int, words: Wording) -> Iterator[str]:
    if shown < len(report.rows):
        yield words.say(
            "The {shown} costliest of {all} sessions; `costctl report --csv` has all of them.",
            shown=words.number(shown),
            all=words.number(len(report.rows)),
        )
    if any(row.began_before or row.went_on_after for row in report.rows):
        yield words.say("< began before this period, > went on after it: only the part in the period is counted.")
    rules = sorted({row.rule for row in report.rows if row.rule})
    if rules:
        yield words.say(
            "Billed by the rule of {rules}; `costctl billing show` explains a session's bill.",
            rules=words.listed(rules),
        )
