"""The ledger's tables, as SQLAlchemy sees them. Only this package knows them; `migrations/` makes them.

Instants are microseconds since 1970 in UTC, money is micro-units, so both sort, add and compare exactly everywhere.
Of phases only the starts are stored: a phase ends where the next one begins or where its session's known time ends.
So a session is partitioned by construction, and nothing can be billed twice or not at all.

They are plain tables, not mapped classes: rows never leave this package, and the ORM would take 100 ms of each command.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    Unicode,
    UniqueConstraint,
    type_coerce,
)

from costctl.domain.instants import instant_of, microseconds_of

REVISION = "0007"
"""The newest revision in `migrations/versions`, which are numbered: a greater one is from a newer costctl."""


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
        return microseconds_of(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the instant in UTC."""
        return None if value is None else instant_of(value)


def stored(column: Column[datetime]) -> ColumnElement[int]:
    """Return a column of instants as the integers that are stored: most in a report never need to be more."""
    return type_coerce(column, BigInteger)


class Json(TypeDecorator[Any]):
    """A JSON document; None is SQL's NULL."""

    impl = JSON(none_as_null=True)
    cache_ok = True


METADATA = MetaData()
"""All tables."""

# What is not said to be nullable is not, unlike in SQLAlchemy.
_number = partial(Column, type_=BigInteger, nullable=False)
_text = partial(Column, type_=Text, nullable=False)
_instant = partial(Column, type_=Instant, nullable=False)
_json = partial(Column, type_=Json, nullable=False)


def _id() -> Column[int]:
    # SQLite numbers rows by itself only in a column declared INTEGER.
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _session(*, primary_key: bool = True) -> Column[int]:
    return Column("session_id", BigInteger, ForeignKey("sessions.id"), primary_key=primary_key, nullable=False)


# A billed machine; changed facts (another GPU) make another row.
INSTANCES = Table(
    "instances",
    METADATA,
    _id(),
    _text("machine"),
    _text("provider", nullable=True),
    _text("instance_type", nullable=True),
    _text("region", nullable=True),
    _text("market", nullable=True),
    _text("gpu", nullable=True),
    _number("gpu_count"),
    Index("ix_instances_machine", "machine"),
)

# One billed power-on. `heartbeat_at` says how far it is known: closing sets it to `ended_at`.
SESSIONS = Table(
    "sessions",
    METADATA,
    _id(),
    Column("instance_id", BigInteger, ForeignKey("instances.id"), nullable=False),
    _text("power_on_key"),
    _instant("started_at"),
    _instant("heartbeat_at"),
    _instant("ended_at", nullable=True),
    _text("end_reason", nullable=True),
    _number("price_micros_per_hour", nullable=True),
    _text("currency", nullable=True),
    _text("price_source", nullable=True),
    _instant("price_dated", nullable=True),
    _text("billing_rule", nullable=True),
)

# A month's sessions are those known beyond its start that began before its end. Read from this index by the first
# condition, the years before the month cost nothing; that is also why there is none that leads with started_at.
Index("ix_sessions_known", SESSIONS.c.heartbeat_at, SESSIONS.c.started_at)
Index("ix_sessions_power_on", SESSIONS.c.power_on_key, SESSIONS.c.started_at)
# It is partial in PostgreSQL too, as its migration says; to say it here would load that dialect with each command.
Index("ix_sessions_open", SESSIONS.c.instance_id, sqlite_where=SESSIONS.c.ended_at.is_(None))

# The start of a phase.
PHASES = Table(
    "phases",
    METADATA,
    _session(),
    _instant("started_at", primary_key=True),
    _text("phase"),
    _number("run", nullable=True),
    sqlite_with_rowid=False,
)

# One life of the engine's process.
ENGINE_RUNS = Table(
    "engine_runs",
    METADATA,
    _session(),
    _number("number", primary_key=True),
    _text("engine"),
    _text("model"),
    _json("command"),
    _instant("started_at"),
    _instant("ready_at", nullable=True),
    _instant("ended_at", nullable=True),
    _text("outcome", nullable=True),
    _text("detail", nullable=True),
    _json("startup", nullable=True),
    Index("ix_engine_runs_model", "engine", "model", "started_at"),
)

# What was asked of one model in one hour.
USAGE_HOURS = Table(
    "usage_hours",
    METADATA,
    _session(),
    _instant("hour_at", primary_key=True),
    _text("model", primary_key=True),
    _number("requests"),
    _number("prompt_tokens"),
    _number("generation_tokens"),
    sqlite_with_rowid=False,
)

# What was answered from the cache in one hour, and the tokens that the engine did not have to work on.
CACHED_HOURS = Table(
    "cached_hours",
    METADATA,
    _session(),
    _instant("hour_at", primary_key=True),
    _text("model", primary_key=True),
    _number("hits"),
    _number("misses"),
    _number("prompt_tokens"),
    _number("generation_tokens"),
    sqlite_with_rowid=False,
)

# One GPU in one minute.
GPU_MINUTES = Table(
    "gpu_minutes",
    METADATA,
    _session(),
    _instant("minute_at", primary_key=True),
    _number("gpu_index", primary_key=True),
    _text("gpu"),
    _number("utilisation_percent", nullable=True),
    _number("memory_used_bytes"),
    _number("power_milliwatts", nullable=True),
    sqlite_with_rowid=False,
)

# What the idle policy chose, and every signal that it saw.
DECISIONS = Table(
    "decisions",
    METADATA,
    _id(),
    _session(primary_key=False),
    _instant("at"),
    _text("verdict"),
    _text("reason"),
    _json("signals"),
    Column("acted", Boolean, nullable=False),
    Index("ix_decisions_session", "session_id", "at"),
)

# An own price from an instant on, or a line of an imported price list (`origin`).
PRICES = Table(
    "prices",
    METADATA,
    _id(),
    _text("origin"),
    _text("provider", nullable=True),
    _text("instance_type", nullable=True),
    _text("gpu"),
    _number("gpu_count"),
    _text("region", nullable=True),
    _text("market"),
    _text("currency"),
    _number("micros_per_hour"),
    _instant("valid_from"),
    _text("source"),
    _text("note"),
)

# The work on a batch in one session; a batch that is taken up again in another has another row there.
BATCHES = Table(
    "batches",
    METADATA,
    _id(),
    _session(primary_key=False),
    _text("name"),
    _instant("started_at"),
    _instant("ended_at", nullable=True),
    _number("requests"),
    _number("failed_requests"),
    _number("prompt_tokens"),
    _number("generation_tokens"),
    _number("schedule_run_id", nullable=True),
    _text("outcome", nullable=True),
    Index("ix_batches_session", "session_id", "started_at"),
    Index("ix_batches_schedule_run", "schedule_run_id"),
)

# How fast a model was on a GPU, measured outside of costctl.
BENCHMARKS = Table(
    "benchmarks",
    METADATA,
    _id(),
    _text("model"),
    _text("gpu"),
    _number("gpu_count"),
    _instant("measured_at"),
    _number("requests"),
    _number("prompt_tokens"),
    _number("generation_tokens"),
    _number("duration_us"),
    _number("max_concurrency", nullable=True),
    _text("source"),
)

# A command that runs at its times on one machine; due times count from `since` on.
SCHEDULES = Table(
    "schedules",
    METADATA,
    _id(),
    _text("machine"),
    _text("name"),
    _text("rule"),
    _text("zone"),
    _json("command"),
    _text("folder"),
    _json("notify"),
    _number("grace_us"),
    _number("limit_us"),
    _instant("since"),
    Column("paused", Boolean, nullable=False),
    UniqueConstraint("machine", "name"),
)

# What became of a due time. Each is taken by one daemon only, which is what the constraint is for.
SCHEDULE_RUNS = Table(
    "schedule_runs",
    METADATA,
    _id(),
    Column("schedule_id", BigInteger, ForeignKey("schedules.id"), nullable=False),
    _instant("due_at"),
    _instant("started_at", nullable=True),
    _instant("ended_at", nullable=True),
    _text("outcome"),
    _number("exit_code", nullable=True),
    _text("detail"),
    _json("command"),
    _number("session_id", nullable=True),
    _text("log", nullable=True),
    _instant("alive_at", nullable=True),
    UniqueConstraint("schedule_id", "due_at"),
    Index("ix_schedule_runs_outcome", "outcome"),
)

# APScheduler's own: when each schedule is due next. Its columns are as APScheduler's SQLAlchemyJobStore has them.
SCHEDULE_JOBS = Table(
    "schedule_jobs",
    METADATA,
    Column("id", Unicode(191), primary_key=True),
    Column("next_run_time", Float(25), index=True),
    Column("job_state", LargeBinary, nullable=False),
)
