"""The costliest idle times that ended with a stop, and what a shorter idle window would have saved."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from costctl.domain.windows import GapEnd
from costctl.reports.exact import instant, money, seconds
from costctl.reports.outline import Amount, Column, Count, Length, Moment, Notes, Prose, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

    from costctl.domain.windows import IdleGap, Replay, WindowStudy
    from costctl.reports.outline import Block, Cell
    from costctl.reports.wording import Wording


def tails_section(studies: Sequence[WindowStudy], words: Wording) -> Section | None:
    """Return the costliest idle tails and the replay of shorter windows; None if nothing was idle at a known price."""
    if not studies:
        return None
    blocks: list[Block] = []
    if any(study.tails for study in studies):
        blocks.append(_tails(studies, words))
    if any(study.known for study in studies):
        blocks.append(_windows(studies, words))
    blocks.extend(Prose(_verdict(study, words)) for study in studies)
    blocks.append(Notes(tuple(_notes(studies, words))))
    return Section(key="idle-tails", title=words.say("Idle tails and shorter windows"), blocks=tuple(blocks))


def tails_object(studies: Sequence[WindowStudy], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return the same for JSON, by currency."""
    return [
        {
            "currency": study.currency,
            "idle_times": study.gap_count,
            "idle_cost": money(study.idle_micros),
            "cold_start_seconds": seconds(study.start),
            "tails": [_tail_object(gap, zone) for gap in study.tails],
            "windows": [_replay_object(study, replay) for replay in study.replays],
            "best_window_seconds": seconds(study.best.window) if study.best else None,
        }
        for study in studies
    ]


def _tail_object(gap: IdleGap, zone: ZoneInfo) -> dict[str, Any]:
    return {
        "session": gap.session_id,
        "started_at": instant(gap.started_at, zone),
        "seconds": seconds(gap.length),
        "price_per_hour": money(gap.price.micros_per_hour),
        "cost": money(gap.cost_micros),
        "ended_by": gap.end,
    }


def _replay_object(study: WindowStudy, replay: Replay) -> dict[str, Any]:
    return {
        "window_seconds": seconds(replay.window),
        "known": replay.is_known,
        "idle_cost": money(replay.idle_micros),
        "extra_starts": replay.extra_starts,
        "extra_starts_cost": money(replay.extra_starts_micros),
        "waiting_seconds": seconds(replay.waiting),
        "saved": money(study.saved_micros(replay)),
    }


def _tails(studies: Sequence[WindowStudy], words: Wording) -> Table:
    columns = (
        Column(heading=words.say("idle from")),
        Column(heading=words.say("session"), numeric=True),
        Column(heading=words.say("minutes"), numeric=True),
        Column(heading=words.say("price"), numeric=True),
        Column(heading=words.say("cost"), numeric=True),
        Column(heading=words.say("ended by")),
    )
    rows = tuple(_tail_row(gap, words) for study in studies for gap in study.tails)
    return Table(key="idle-tails", columns=columns, rows=rows, title=words.say("The costliest idle tails"))


def _tail_row(gap: IdleGap, words: Wording) -> tuple[Cell, ...]:
    return (
        Moment(gap.started_at),
        str(gap.session_id),
        Length(gap.length, "minutes"),
        Amount(micros=gap.price.micros_per_hour, currency=gap.price.currency, per="h"),
        Amount(micros=gap.cost_micros, currency=gap.price.currency),
        words.say("the idle window") if gap.end is GapEnd.WINDOW else words.say("a stop"),
    )


def _windows(studies: Sequence[WindowStudy], words: Wording) -> Table:
    columns = (
        Column(heading=words.say("idle window")),
        Column(heading=words.say("idle time costs"), numeric=True),
        Column(heading=words.say("more cold starts"), numeric=True),
        Column(heading=words.say("they cost"), numeric=True),
        Column(heading=words.say("waiting for them"), numeric=True),
        Column(heading=words.say("saved"), numeric=True),
    )
    rows = tuple(_replay_row(study, replay) for study in studies for replay in study.known)
    return Table(key="idle-windows", columns=columns, rows=rows, title=words.say("With another idle window"))


def _replay_row(study: WindowStudy, replay: Replay) -> tuple[Cell, ...]:
    return (
        Length(replay.window),
        Amount(micros=replay.idle_micros, currency=study.currency),
        Count(replay.extra_starts),
        Amount(micros=replay.extra_starts_micros, currency=study.currency),
        Length(replay.waiting),
        Amount(micros=study.saved_micros(replay), currency=study.currency),
    )


def _verdict(study: WindowStudy, words: Wording) -> str:
    if study.start is None:
        return words.say(
            "No cold start was measured, so it cannot be said what a shorter window would have saved ({currency}).",
            currency=study.currency,
        )
    best = study.best
    if best is None:
        return words.say(
            "No other window that can be replayed would have cost less ({currency}).", currency=study.currency
        )
    return words.count(
        "A window of {window} would have saved {share} of the idle cost in {currency}, for {number} more cold start "
        "and {waiting} of waiting.",
        "A window of {window} would have saved {share} of the idle cost in {currency}, for {number} more cold starts "
        "and {waiting} of waiting.",
        best.extra_starts,
        window=words.length(best.window),
        waiting=words.length(best.waiting),
        share=words.share(Fraction(study.saved_micros(best), study.idle_micros)),
        currency=study.currency,
    )


def _notes(studies: Sequence[WindowStudy], words: Wording) -> Iterator[str]:
    start = studies[0].start
    if start is None:
        return
    yield words.say(
        "Replayed with the idle times of this period, a cold start of {start} (the median) at each session's price, "
        "and billing by the second; a provider that bills whole hours gives less back.",
        start=words.length(start),
    )
    if any(not replay.is_known for study in studies for replay in study.replays):
        yield words.say(
            "Longer windows than those that ended idle times cannot be replayed: nobody saw what would have come."
        )
    yield words.say(
        "For reference: a window as long as a cold start ({start}) never costs more than twice what hindsight would, "
        "and no window set beforehand promises better. That counts money, not the waiting of people.",
        start=words.length(start),
    )
