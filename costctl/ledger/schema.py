"""The ledger's tables, as SQLAlchemy sees them. Only this package knows them; `migrations/` makes them.

Instants are microseconds since 1970 in UTC, money is micro-units, so both sort, add and compare exactly everywhere.
Of phases only the starts are stored: a phase ends where the next one begins or where its session's known time ends.
So a session is partitioned by construction, and nothing can be billed twice or not at all.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from sqlalchemy import JSON, BigInteger, Dialect, ForeignKey, Index, Integer, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

REVISION = "0003"
"""The newest revision in `migrations/versions`, which are numbered: a greater one is from a newer costctl."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def instant_of(microseconds: int) -> datetime:
    """Return the instant that is stored as so many microseconds since the epoch, in UTC."""
    return _EPOCH + microseconds * _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware instant, stored as integer microseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - SQLAlchemy's
        """Return the microseconds of `value`.

        Raises:
            ValueError: it has no time zone.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the instant {value} needs a time zone")
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the instant in UTC."""
        return None if value is None else instant_of(value)


class Json(TypeDecorator[Any]):
    """A JSON document; None is SQL's NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True


# SQLite numbers rows by itself only in a column declared INTEGER.
Id = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)]
OfSession = Annotated[int, mapped_column(BigInteger, ForeignKey("sessions.id"), primary_key=True)]
_KEYED = {"sqlite_with_rowid": False}


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map: ClassVar[dict[type, type[TypeEngine[Any]]]] = {
        datetime: Instant,
        str: Text,
        int: BigInteger,
    }


class InstanceRow(Base):
    """A billed machine; changed facts (another GPU) make another row."""

    __tablename__ = "instances"
    __table_args__ = (Index("ix_instances_machine", "machine"),)

    id: Mapped[Id]
    machine: Mapped[str]
    provider: Mapped[str | None]
    instance_type: Mapped[str | None]
    region: Mapped[str | None]
    market: Mapped[str | None]
    gpu: Mapped[str | None]
    gpu_count: Mapped[int]


class SessionRow(Base):
    """One billed power-on. `heartbeat_at` says how far it is known: closing sets it to `ended_at`."""

    __tablename__ = "sessions"

    id: Mapped[Id]
    instance_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("instances.id"))
    power_on_key: Mapped[str]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]
    price_micros_per_hour: Mapped[int | None]
    currency: Mapped[str | None]
    price_source: Mapped[str | None]
    price_dated: Mapped[datetime | None]
    billing_rule: Mapped[str | None]


# A month's sessions are those known beyond its start that began before its end. Read from this index by the first
# condition, the years before the month cost nothing; that is also why there is none that leads with started_at.
Index("ix_sessions_known", SessionRow.heartbeat_at, SessionRow.started_at)
Index("ix_sessions_power_on", SessionRow.power_on_key, SessionRow.started_at)
# It is partial in PostgreSQL too, as its migration says; to say it here would load that dialect with each command.
Index("ix_sessions_open", SessionRow.instance_id, sqlite_where=SessionRow.ended_at.is_(None))


class PhaseRow(Base):
    """The start of a phase."""

    __tablename__ = "phases"
    __table_args__ = (_KEYED,)

    session_id: Mapped[OfSession]
    started_at: Mapped[datetime] = mapped_column(primary_key=True)
    phase: Mapped[str]
    run: Mapped[int | None]


class EngineRunRow(Base):
    """One life of the engine's process."""

    __tablename__ = "engine_runs"
    __table_args__ = (Index("ix_engine_runs_model", "engine", "model", "started_at"),)

    session_id: Mapped[OfSession]
    number: Mapped[int] = mapped_column(primary_key=True)
    engine: Mapped[str]
    model: Mapped[str]
    command: Mapped[list[str]] = mapped_column(Json)
    started_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    detail: Mapped[str | None]
    startup: Mapped[dict[str, float] | None] = mapped_column(Json)


class UsageHourRow(Base):
    """What was asked of one model in one hour."""

    __tablename__ = "usage_hours"
    __table_args__ = (_KEYED,)

    session_id: Mapped[OfSession]
    hour_at: Mapped[datetime] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    requests: Mapped[int]
    prompt_tokens: Mapped[int]
    generation_tokens: Mapped[int]


class GpuMinuteRow(Base):
    """One GPU in one minute."""

    __tablename__ = "gpu_minutes"
    __table_args__ = (_KEYED,)

    session_id: Mapped[OfSession]
    minute_at: Mapped[datetime] = mapped_column(primary_key=True)
    gpu_index: Mapped[int] = mapped_column(primary_key=True)
    gpu: Mapped[str]
    utilisation_percent: Mapped[int | None]
    memory_used_bytes: Mapped[int]
    power_milliwatts: Mapped[int | None]


class DecisionRow(Base):
    """What the idle policy chose, and every signal that it saw."""

    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_session", "session_id", "at"),)

    id: Mapped[Id]
    session_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sessions.id"))
    at: Mapped[datetime]
    verdict: Mapped[str]
    reason: Mapped[str]
    signals: Mapped[dict[str, Any]] = mapped_column(Json)
    acted: Mapped[bool]


class PriceRow(Base):
    """An own price from an instant on, or a line of an imported price list (`origin`)."""

    __tablename__ = "prices"

    id: Mapped[Id]
    origin: Mapped[str]
    provider: Mapped[str | None]
    instance_type: Mapped[str | None]
    gpu: Mapped[str]
    gpu_count: Mapped[int]
    region: Mapped[str | None]
    market: Mapped[str]
    currency: Mapped[str]
    micros_per_hour: Mapped[int]
    valid_from: Mapped[datetime]
    source: Mapped[str]
    note: Mapped[str]


class BatchRow(Base):
    """The work on a batch in one session; a batch that is taken up again in another has another row there."""

    __tablename__ = "batches"
    __table_args__ = (Index("ix_batches_session", "session_id", "started_at"),)

    id: Mapped[Id]
    session_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("sessions.id"))
    name: Mapped[str]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    requests: Mapped[int]
    failed_requests: Mapped[int]
    prompt_tokens: Mapped[int]
    generation_tokens: Mapped[int]


class BenchmarkRow(Base):
    """How fast a model was on a GPU, measured outside of costctl."""

    __tablename__ = "benchmarks"

    id: Mapped[Id]
    model: Mapped[str]
    gpu: Mapped[str]
    gpu_count: Mapped[int]
    measured_at: Mapped[datetime]
    requests: Mapped[int]
    prompt_tokens: Mapped[int]
    generation_tokens: Mapped[int]
    duration_us: Mapped[int]
    max_concurrency: Mapped[int | None]
    source: Mapped[str]
