"""What the daemon tells of itself: one JSON object, for `costctl status` and whoever else asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from costctl.daemon.pulse import counters_told
from costctl.domain.lifecycle import EngineState, retry_after_s
from costctl.domain.money import format_amount

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from costctl.daemon.activity import Activity
    from costctl.daemon.batches import Batches
    from costctl.daemon.frontdoor.caching import AnswerCache
    from costctl.daemon.recorder import Recorder
    from costctl.daemon.run import EngineRun
    from costctl.daemon.session import Opening
    from costctl.daemon.supervisor import Supervisor
    from costctl.domain.gpus import GpuReading
    from costctl.ledger.writer import LedgerWriter
    from costctl.ports import Clock

SCHEMA = "costctl.status/1"
_LAST_LINES = 5


class StatusView:
    """Reads everything, changes nothing."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        activity: Activity,
        recorder: Recorder,
        writer: LedgerWriter,
        batches: Batches,
        clock: Clock,
        cost_so_far: Callable[[Opening, datetime], int | None],
        facts: dict[str, Any],
        cache: AnswerCache | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._activity = activity
        self._recorder = recorder
        self._writer = writer
        self._batches = batches
        self._clock = clock
        self._cost_so_far = cost_so_far
        self._facts = facts
        self._cache = cache

    def read(self) -> dict[str, Any]:
        """Return the status as it is now."""
        return {
            "schema": SCHEMA,
            **self._facts,
            "engine": self._engine(),
            "idle": self._idle(),
            "session": self._session(),
            "batches": self._batches.read(),
            "cache": self._cache.status() if self._cache else None,
            "gpus": [_gpu(reading) for reading in self._activity.readings],
            "warnings": self._warnings(),
        }

    def headline(self) -> str:
        """Return one line: the engine's state and what idleness leads to."""
        return f"engine {self._supervisor.lifecycle.state.value}; {self._supervisor.verdict().reason}"

    def _engine(self) -> dict[str, Any]:
        state, at = self._supervisor.lifecycle, self._clock.monotonic()
        run = self._supervisor.run
        return {
            "state": state.state.value,
            "seconds_in_state": round(at - state.since, 1),
            "in_flight": state.in_flight,
            "waiting": state.waiting,
            "reason": state.reason or None,
            "retry_after_seconds": round(retry_after_s(state, at), 1) or None,
            "pid": run.pid if run else None,
            "counters": counters_told(run.counters) if run else None,
            "start": self._start(run, at) if run and state.state is EngineState.STARTING else None,
            "failure": _failure(self._supervisor.last_run, state.reason) if state.state is EngineState.FAILED else None,
        }

    def _start(self, run: EngineRun, at: float) -> dict[str, Any]:
        return {
            "phase": run.track.phase.value,
            "elapsed_seconds": round(at - run.launched_at, 1),
            "usual_seconds": None if run.usual_s is None else round(run.usual_s, 1),
        }

    def _idle(self) -> dict[str, Any]:
        verdict, at = self._supervisor.verdict(), self._clock.monotonic()
        return {
            "why": verdict.reason,
            "idle_seconds": None if verdict.idle_since is None else round(at - verdict.idle_since, 1),
            "stops_in_seconds": None if verdict.stop_at is None else round(max(0.0, verdict.stop_at - at), 1),
            "signals": [
                {"name": signal.name, "active": signal.active, "detail": signal.detail}
                for signal in self._supervisor.signals
            ],
        }

    def _session(self) -> dict[str, Any]:
        opening, now = self._recorder.opening, self._recorder.now()
        cost = self._cost_so_far(opening, now)
        return {
            "id": opening.session_id,
            "started_at": opening.started_at.isoformat(),
            "seconds": round((now - opening.started_at).total_seconds()),
            "phase": self._recorder.phase.value,
            "price_per_hour": None if opening.price is None else format_amount(opening.price.micros_per_hour),
            "currency": None if opening.price is None else opening.price.currency,
            "price_source": None if opening.price is None else opening.price.source,
            "billing_rule": opening.rule,
            "cost": None if cost is None else format_amount(cost, decimals=6),
        }

    def _warnings(self) -> list[str]:
        warnings = [
            f"{signal.name} cannot be read, which counts as active: {signal.detail}"
            for signal in self._supervisor.signals
            if signal.active is None
        ]
        if self._writer.problem:
            warnings.append(f"{self._writer.pending} records wait for the ledger: {self._writer.problem}")
        if self._cache and self._cache.problem:
            warnings.append(f"trouble with the answer cache, {self._cache.problem}")
        last = self._supervisor.last_run
        if last is not None and last.note:
            warnings.append(last.note)
        return warnings


def _failure(run: EngineRun | None, reason: str) -> dict[str, Any] | None:
    if run is None:
        return None
    found = run.diagnosis
    return {
        "kind": found.kind.value if found else "unknown",
        "summary": found.summary if found else reason,
        "advice": found.advice if found else None,
        "evidence": list(found.evidence) if found else [],
        "last_lines": list(run.tail)[-_LAST_LINES:],
    }


def _gpu(reading: GpuReading) -> dict[str, Any]:
    return {
        "index": reading.index,
        "name": reading.name,
        "memory_used_mib": reading.memory_used_bytes // 2**20,
        "memory_total_mib": reading.memory_total_bytes // 2**20,
        "utilisation_percent": reading.utilisation_percent,
        "power_watts": None if reading.power_milliwatts is None else round(reading.power_milliwatts / 1000),
        "processes": len(reading.processes),
    }
