"""Verbs about all sessions of a period at once: one statement each, however many sessions there are."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Select, Text, cast, func, select

from costctl.domain.instants import instant_of, length_of
from costctl.ledger.batches import read_batches
from costctl.ledger.schema import BATCHES, CACHED_HOURS, ENGINE_RUNS, GPU_MINUTES, SESSIONS, USAGE_HOURS, stored
from costctl.ledger.transactions import Transactions
from costctl.ledger.values import Batch, CachedHour, GpuUse, RunFact, UsageHour

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Column


class Periods(Transactions):
    """What happened in the sessions that overlap [since, until); an hour or a minute belongs to where it begins."""

    def runs_between(self, since: datetime, until: datetime) -> list[RunFact]:
        """Return the engine runs of these sessions."""
        return self._runs(_of_sessions(ENGINE_RUNS.c.session_id, since, until))

    def runs_of(self, session_ids: Collection[int]) -> list[RunFact]:
        """Return the engine runs of a few hundred sessions at most."""
        return self._runs(ENGINE_RUNS.c.session_id.in_(session_ids))

    def usage_between(self, since: datetime, until: datetime) -> list[UsageHour]:
        """Return what was asked in the hours that begin in the period."""
        use = USAGE_HOURS.c
        of_sessions = _of_sessions(use.session_id, since, until)
        return self._usage(of_sessions & (use.hour_at >= since) & (use.hour_at < until))

    def usage_of(self, session_ids: Collection[int]) -> list[UsageHour]:
        """Return what was asked in a few hundred sessions at most."""
        return self._usage(USAGE_HOURS.c.session_id.in_(session_ids))

    def cached_between(self, since: datetime, until: datetime) -> list[CachedHour]:
        """Return what was answered from the cache in the hours that begin in the period, in their order."""
        hour = CACHED_HOURS.c
        inside = (hour.hour_at >= since, hour.hour_at < until, _of_sessions(hour.session_id, since, until))
        query: Select[tuple[object, ...]] = select(*hour)
        with self._look() as connection:
            rows = connection.execute(query.where(*inside).order_by(hour.hour_at, hour.session_id, hour.model))
            return [CachedHour(**row._mapping) for row in rows]  # noqa: SLF001

    def batches_between(self, since: datetime, until: datetime) -> list[Batch]:
        """Return the batches of these sessions, in the order of their starts."""
        query = select(*BATCHES.c).where(_of_sessions(BATCHES.c.session_id, since, until))
        with self._look() as connection:
            return read_batches(connection, query.order_by(BATCHES.c.started_at, BATCHES.c.id))

    def gpu_use_between(self, since: datetime, until: datetime) -> list[GpuUse]:
        """Return how the GPUs were used in the minutes that begin in the period, by kind of GPU."""
        query = select(
            GPU_MINUTES.c.gpu,
            func.count(),
            func.avg(GPU_MINUTES.c.utilisation_percent),
            func.max(GPU_MINUTES.c.memory_used_bytes),
            func.avg(GPU_MINUTES.c.power_milliwatts),
        )
        inside = (GPU_MINUTES.c.minute_at >= since, GPU_MINUTES.c.minute_at < until)
        with self._look() as connection:
            rows = connection.execute(
                query.where(_of_sessions(GPU_MINUTES.c.session_id, since, until), *inside)
                .group_by(GPU_MINUTES.c.gpu)
                .order_by(GPU_MINUTES.c.gpu)
            ).all()
        return [
            GpuUse(
                gpu=gpu,
                minutes=minutes,
                mean_utilisation_percent=None if utilisation is None else round(utilisation),
                peak_memory_bytes=memory,
                mean_milliwatts=None if power is None else round(power),
            )
            for gpu, minutes, utilisation, memory, power in rows
        ]

    def _runs(self, which: ColumnElement[bool]) -> list[RunFact]:
        run = ENGINE_RUNS.c
        command = cast(run.command, Text)  # most have the same: each text is parsed once
        times = stored(run.started_at), stored(run.ready_at)
        query = select(run.session_id, run.number, run.engine, run.model, command, *times)
        with self._look() as connection:
            rows = connection.execute(query.where(which)).all()
        return [
            RunFact(
                session_id=session_id,
                number=number,
                engine=engine,
                model=model,
                command=_words(command),
                start=None if ready_us is None else length_of(ready_us - started_us),
            )
            for session_id, number, engine, model, command, started_us, ready_us in rows
        ]

    def _usage(self, which: ColumnElement[bool]) -> list[UsageHour]:
        use = USAGE_HOURS.c
        query = select(
            use.session_id, stored(use.hour_at), use.model, use.requests, use.prompt_tokens, use.generation_tokens
        )
        with self._look() as connection:
            rows = connection.execute(query.where(which)).all()
        return [
            UsageHour(
                session_id=session_id,
                hour_at=_hour(hour_us),
                model=model,
                requests=requests,
                prompt_tokens=prompt_tokens,
                generation_tokens=generation_tokens,
            )
            for session_id, hour_us, model, requests, prompt_tokens, generation_tokens in rows
        ]


_hour = lru_cache(maxsize=1000)(instant_of)  # a month has 744, and many sessions in each


@lru_cache(maxsize=64)
def _words(command: str) -> tuple[str, ...]:
    return tuple(json.loads(command))


def _of_sessions(column: Column[int], since: datetime, until: datetime) -> ColumnElement[bool]:
    overlapping = select(SESSIONS.c.id).where(SESSIONS.c.heartbeat_at > since, SESSIONS.c.started_at < until)
    return column.in_(overlapping)
