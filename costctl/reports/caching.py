"""What was answered from the cache, and the GPU time and money that this saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.reports.exact import money, number, seconds
from costctl.reports.outline import Amount, Column, Count, Length, Notes, Section, Share, Table
from costctl.reports.summary import time_column, time_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from costctl.domain.cached import CacheUse
    from costctl.reports.figures import Report
    from costctl.reports.outline import Cell
    from costctl.reports.wording import Wording


def cache_section(report: Report, uses: Sequence[CacheUse], words: Wording) -> Section | None:
    """Return what the cache did for each model; None if nothing was looked for in it."""
    if not uses:
        return None
    columns = (
        Column(heading=words.say("model"), shrinks=True),
        Column(heading=words.say("from the cache"), numeric=True),
        Column(heading=words.say("not there"), numeric=True),
        Column(heading=words.say("hit rate"), numeric=True),
        Column(heading=words.say("tokens saved"), numeric=True),
        time_column(report, words),
        Column(heading=words.say("worth"), numeric=True),
    )
    table = Table(key="cache", columns=columns, rows=tuple(_row(report, use) for use in uses))
    return Section(key="cache", title=words.say("Answers from the cache"), blocks=(table, Notes(tuple(_notes(words)))))


def cache_object(uses: Sequence[CacheUse]) -> list[dict[str, Any]]:
    """Return the same for JSON."""
    return [
        {
            "model": use.model,
            "hits": use.hits,
            "misses": use.misses,
            "hit_rate": number(use.hit_rate),
            "saved_prompt_tokens": use.prompt_tokens,
            "saved_generation_tokens": use.generation_tokens,
            "saved_busy_seconds": seconds(use.saved_time),
            "saved_cost": money(use.saved_micros),
            "currency": use.currency,
        }
        for use in uses
    ]


def _row(report: Report, use: CacheUse) -> tuple[Cell, ...]:
    time, micros = use.saved_time, use.saved_micros
    return (
        use.model,
        Count(use.hits),
        Count(use.misses),
        None if use.hit_rate is None else Share(use.hit_rate),
        Count(use.saved_tokens),
        None if time is None else Length(time, time_unit(report)),
        None if micros is None or use.currency is None else Amount(micros=micros, currency=use.currency),
    )


def _notes(words: Wording) -> Iterator[str]:
    yield words.say(
        "Time is the tokens that the engine did not work on, at its tokens per busy second in this period; worth is "
        "that time at the mean price of the model's billed time."
    )
    yield words.say(
        "Both are rather too much than too little: beside other requests, or with its prompt in the engine's prefix "
        "cache, such a request would have taken less."
    )
    yield words.say(
        "It is money kept where the machine was off, or could be stopped sooner; streams that do not tell their usage "
        "count one token for each event, and none of the prompt."
    )
