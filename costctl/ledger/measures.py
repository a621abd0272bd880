"""Verbs about what was measured and decided: usage, GPUs, decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, Select, insert, select, update

from costctl.ledger.schema import CACHED_HOURS, DECISIONS, GPU_MINUTES, USAGE_HOURS
from costctl.ledger.transactions import Transactions
from costctl.ledger.values import Decision, GpuMinute, UsageHour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Table


class Measures(Transactions):
    """Measures are added up by session and hour or minute; decisions are kept as they were made."""

    def add_usage(
        self,
        session_id: int,
        *,
        hour_at: datetime,
        model: str,
        requests: int,
        prompt_tokens: int,
        generation_tokens: int,
    ) -> None:
        """Add to what was asked of `model` in the hour from `hour_at`.

        Raises:
            ValueError: a count is negative.
        """
        counts = {"requests": requests, "prompt_tokens": prompt_tokens, "generation_tokens": generation_tokens}
        self._grow(USAGE_HOURS, (session_id, hour_at, model), counts)

    def usage(self, session_id: int) -> list[UsageHour]:
        """Return the session's usage by hour and model."""
        query = select(*USAGE_HOURS.c).where(USAGE_HOURS.c.session_id == session_id)
        rows = self._rows(query.order_by(USAGE_HOURS.c.hour_at, USAGE_HOURS.c.model))
        return [UsageHour(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it

    def add_cached(
        self,
        session_id: int,
        *,
        hour_at: datetime,
        model: str,
        hits: int,
        misses: int,
        prompt_tokens: int,
        generation_tokens: int,
    ) -> None:
        """Add to what the cache answered instead of `model` in the hour from `hour_at`; the tokens are those of hits.

        Raises:
            ValueError: a count is negative.
        """
        tokens = {"prompt_tokens": prompt_tokens, "generation_tokens": generation_tokens}
        self._grow(CACHED_HOURS, (session_id, hour_at, model), {"hits": hits, "misses": misses} | tokens)

    def add_gpu_minute(
        self,
        session_id: int,
        *,
        minute_at: datetime,
        gpu_index: int,
        gpu: str,
        utilisation_percent: int | None,
        memory_used_bytes: int,
        power_milliwatts: int | None = None,
    ) -> None:
        """Record how a GPU was used in the minute from `minute_at`; the last word about a minute counts."""
        key = {"session_id": session_id, "minute_at": minute_at, "gpu_index": gpu_index}
        values = {
            "gpu": gpu,
            "utilisation_percent": utilisation_percent,
            "memory_used_bytes": memory_used_bytes,
            "power_milliwatts": power_milliwatts,
        }
        with self._begin() as connection:
            _put(connection, GPU_MINUTES, key, if_new=values, if_there=values)

    def gpu_minutes(self, session_id: int) -> list[GpuMinute]:
        """Return how the session's GPUs were used, by minute."""
        query = select(*GPU_MINUTES.c).where(GPU_MINUTES.c.session_id == session_id)
        rows = self._rows(query.order_by(GPU_MINUTES.c.minute_at, GPU_MINUTES.c.gpu_index))
        return [GpuMinute(**row._mapping) for row in rows]  # noqa: SLF001

    def record_decision(
        self, session_id: int, *, at: datetime, verdict: str, reason: str, signals: Mapping[str, Any], acted: bool
    ) -> None:
        """Record what the idle policy chose, why, and every signal that it saw (as JSON)."""
        values = {"session_id": session_id, "at": at, "verdict": verdict, "reason": reason, "acted": acted}
        with self._begin() as connection:
            connection.execute(insert(DECISIONS).values(values | {"signals": dict(signals)}))

    def decisions(self, session_id: int, *, last: int | None = None) -> list[Decision]:
        """Return the session's decisions, newest first; only the `last` few if given."""
        columns = [column for column in DECISIONS.c if column.name != "id"]
        query = select(*columns).where(DECISIONS.c.session_id == session_id)
        rows = self._rows(query.order_by(DECISIONS.c.at.desc(), DECISIONS.c.id.desc()).limit(last))
        return [Decision(**row._mapping) for row in rows]  # noqa: SLF001

    def _grow(self, table: Table, key: tuple[int, datetime, str], counts: Mapping[str, int]) -> None:
        if min(counts.values()) < 0:
            raise ValueError(f"usage only grows: {counts}")
        grown = {name: table.c[name] + count for name, count in counts.items()}
        named = dict(zip(("session_id", "hour_at", "model"), key, strict=True))
        with self._begin() as connection:
            _put(connection, table, named, if_new=counts, if_there=grown)

    def _rows(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._look() as connection:
            return connection.execute(query).all()


def _put(
    connection: Connection,
    table: Table,
    key: Mapping[str, Any],
    *,
    if_new: Mapping[str, Any],
    if_there: Mapping[str, Any],
) -> None:
    # A session has one writer, so looking first is safe, and it is the same SQL in every database.
    this = [table.c[name] == value for name, value in key.items()]
    if connection.execute(update(table).where(*this).values(**if_there)).rowcount == 0:
        connection.execute(insert(table).values(**key, **if_new))
