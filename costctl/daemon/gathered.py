"""What is gathered between two heartbeats: tokens, requests and cached answers by hour, GPU readings by minute."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from costctl.ledger.store import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from costctl.domain.gpus import GpuReading
    from costctl.domain.stored_answers import Tokens
    from costctl.ledger.writer import Verb
    from costctl.ports import Clock

_MINUTE = timedelta(minutes=1)


@dataclass(slots=True)
class _Used:
    requests: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0


@dataclass(slots=True)
class _Cached:
    hits: int = 0
    misses: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0


@dataclass(slots=True)
class _GpuMinute:
    name: str
    utilisation: list[int] = field(default_factory=list)
    power: list[int] = field(default_factory=list)
    memory_bytes: int = 0


class Gathered:
    """Counts by what `now` is on the ledger's timeline."""

    def __init__(self, *, now: Callable[[], datetime], clock: Clock) -> None:
        self._now = now
        self._clock = clock
        self._used: dict[tuple[datetime, str], _Used] = defaultdict(_Used)
        self._cached: dict[tuple[datetime, str], _Cached] = defaultdict(_Cached)
        self._minutes: dict[tuple[datetime, int], _GpuMinute] = {}
        self._served: Counter[str] = Counter()
        self._served_in = self._hour()
        self._hour_ends_at = float("-inf")

    def tokens_worked(self, model: str, prompt: int, generation: int) -> None:
        """Add tokens to the present hour."""
        used = self._used[(self._hour(), model)]
        used.prompt_tokens += prompt
        used.generation_tokens += generation

    def request_served(self, model: str) -> None:
        """Add a request to the present hour."""
        if self._clock.monotonic() >= self._hour_ends_at:
            self._turn_hour()
        self._served[model] += 1

    def answer_found(self, model: str, tokens: Tokens) -> None:
        """Add an answer from the cache to the present hour."""
        cached = self._cached[(self._hour(), model)]
        cached.hits += 1
        cached.prompt_tokens += tokens.prompt
        cached.generation_tokens += tokens.generation

    def answer_missed(self, model: str) -> None:
        """Add a request that the cache had no answer to."""
        self._cached[(self._hour(), model)].misses += 1

    def gpus_read(self, readings: tuple[GpuReading, ...]) -> None:
        """Take a reading into the present minute."""
        minute = self._now().replace(second=0, microsecond=0)
        for gpu in readings:
            entry = self._minutes.setdefault((minute, gpu.index), _GpuMinute(name=gpu.name))
            entry.memory_bytes = max(entry.memory_bytes, gpu.memory_used_bytes)
            if gpu.utilisation_percent is not None:
                entry.utilisation.append(gpu.utilisation_percent)
            if gpu.power_milliwatts is not None:
                entry.power.append(gpu.power_milliwatts)

    def flush(self, session_id: int, *, is_last: bool = False) -> Iterator[Verb]:
        """Yield what writes all of it and forget it; the minute that runs stays, unless this is the last time."""
        self._turn_hour()
        used, self._used = self._used, defaultdict(_Used)
        cached, self._cached = self._cached, defaultdict(_Cached)
        for (hour, model), counts in used.items():
            yield partial(Ledger.add_usage, session_id=session_id, hour_at=hour, model=model, **asdict(counts))
        for (hour, model), found in cached.items():
            yield partial(Ledger.add_cached, session_id=session_id, hour_at=hour, model=model, **asdict(found))
        yield from self._flush_minutes(session_id, before=self._now() + _MINUTE * (1 if is_last else 0))

    def _flush_minutes(self, session_id: int, *, before: datetime) -> Iterator[Verb]:
        minute = before.replace(second=0, microsecond=0)
        for key in [key for key in self._minutes if key[0] < minute]:
            entry = self._minutes.pop(key)
            yield partial(
                Ledger.add_gpu_minute,
                session_id=session_id,
                minute_at=key[0],
                gpu_index=key[1],
                gpu=entry.name,
                utilisation_percent=_mean(entry.utilisation),
                memory_used_bytes=entry.memory_bytes,
                power_milliwatts=_mean(entry.power),
            )

    def _turn_hour(self) -> None:
        """Add the requests counted so far to their hour; counting itself, on every request's way, is kept cheap."""
        served, self._served = self._served, Counter()
        for model, requests in served.items():
            self._used[(self._served_in, model)].requests += requests
        self._served_in = self._hour()
        left = self._served_in + timedelta(hours=1) - self._now()
        self._hour_ends_at = self._clock.monotonic() + left.total_seconds()

    def _hour(self) -> datetime:
        return self._now().replace(minute=0, second=0, microsecond=0)


def _mean(values: list[int]) -> int | None:
    return round(sum(values) / len(values)) if values else None
