"""What the ledger tells about runs, usage, GPUs and decisions: frozen values, all instants in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from costctl.domain.schedules import RunOutcome


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRun:
    """One life of the engine's process."""

    session_id: int
    number: int
    engine: str
    model: str
    command: tuple[str, ...]
    started_at: datetime
    ready_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    """How it ended: `stopped`, `crashed`, `failed` (never ready) or `lost` (the daemon went away before it)."""
    detail: str | None
    startup_seconds: Mapping[str, float]
    """Seconds by phase of the start: imports, weights, compile, graphs, ...; empty if unknown."""

    @property
    def start_seconds(self) -> float | None:
        """How long it took to be ready; None if it never was."""
        return None if self.ready_at is None else (self.ready_at - self.started_at).total_seconds()


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFact:
    """What a report needs of an engine run; `start` is how long it took to be ready, None if it never was."""

    session_id: int
    number: int
    engine: str
    model: str
    command: tuple[str, ...]
    start: timedelta | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUse:
    """How GPUs of one kind were used in a period, over `minutes` in which they were looked at."""

    gpu: str
    minutes: int
    mean_utilisation_percent: int | None
    peak_memory_bytes: int
    mean_milliwatts: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageHour:
    """What was asked of one model in the hour from `hour_at`."""

    session_id: int
    hour_at: datetime
    model: str
    requests: int
    prompt_tokens: int
    generation_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedHour:
    """What was answered from the cache instead of by one model in the hour from `hour_at`, and what was not there."""

    session_id: int
    hour_at: datetime
    model: str
    hits: int
    misses: int
    prompt_tokens: int
    generation_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The work on a batch in one session; `ended_at` and `outcome` are None while it goes on.

    `schedule_run_id` says which run of a schedule started it, None if none did or its schedule was removed.
    """

    id: int
    session_id: int
    name: str
    started_at: datetime
    ended_at: datetime | None
    requests: int
    failed_requests: int
    prompt_tokens: int
    generation_tokens: int
    schedule_run_id: int | None
    outcome: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuMinute:
    """One GPU in the minute from `minute_at`."""

    session_id: int
    minute_at: datetime
    gpu_index: int
    gpu: str
    utilisation_percent: int | None
    memory_used_bytes: int
    power_milliwatts: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the idle policy chose, why, what it saw, and whether it was acted upon."""

    session_id: int
    at: datetime
    verdict: str
    reason: str
    signals: Mapping[str, Any]
    acted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleRun:
    """What became of one due time of a schedule; `started_at` is None if it was not run."""

    id: int
    schedule_id: int
    schedule: str
    due_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    outcome: RunOutcome
    exit_code: int | None
    detail: str
    """Why it was not run, or the last lines of one that failed."""
    command: tuple[str, ...]
    session_id: int | None
    log: str | None
    alive_at: datetime | None
    """When who runs it last said that it goes on."""
