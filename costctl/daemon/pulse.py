"""How the engine is and what has been spent: what a batch goes by, cheap enough to be asked every second."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from costctl.daemon.activity import Activity
    from costctl.daemon.recorder import Recorder
    from costctl.daemon.session import Opening
    from costctl.daemon.supervisor import Supervisor
    from costctl.domain.engines import Counters
    from costctl.ports import Clock

_LAST_LINES, _LONGEST_LINE = 5, 500
_COUNTED_S = 0.05
"""Counters that are no older than this are not read again."""


class Pulse:
    """Takes the engine's pulse."""

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        activity: Activity,
        recorder: Recorder,
        clock: Clock,
        cost_so_far: Callable[[Opening, datetime], int | None],
    ) -> None:
        self._supervisor = supervisor
        self._activity = activity
        self._recorder = recorder
        self._clock = clock
        self._cost_so_far = cost_so_far

    async def take(self, since: datetime) -> dict[str, Any]:
        """Return the engine's state and counters, the GPUs' mean use, and what the machine has cost since `since`."""
        run = self._supervisor.run
        ready = run is not None and run.ready_at is not None
        if run is not None and ready and self._clock.monotonic() - run.counted_at > _COUNTED_S:
            await run.refresh()
        state = self._supervisor.lifecycle
        return {
            "engine": state.state.value,
            "failures": state.failures,
            "failed_starts": state.failed_starts,
            "failure": state.failure or None,
            "log": self._last_lines() if state.failure else [],
            "counters": counters_told(run.counters) if run is not None and ready and not run.counters_problem else None,
            "gpu_percent": self._gpu_percent(),
            **self._spent(since),
        }

    def _last_lines(self) -> list[str]:
        run = self._supervisor.last_run
        return [] if run is None else [line[:_LONGEST_LINE] for line in list(run.tail)[-_LAST_LINES:]]

    def _gpu_percent(self) -> int | None:
        known = [gpu.utilisation_percent for gpu in self._activity.readings if gpu.utilisation_percent is not None]
        return round(sum(known) / len(known)) if known else None

    def _spent(self, since: datetime) -> dict[str, Any]:
        opening = self._recorder.opening
        if opening.price is None:
            return {"cost_micros": None, "currency": None}
        until, before = self._cost_so_far(opening, self._recorder.now()), 0
        if since > opening.started_at:
            before = self._cost_so_far(opening, since) or 0
        return {"cost_micros": (until or 0) - before, "currency": opening.price.currency}


def counters_told(counters: Counters | None) -> dict[str, Any] | None:
    """Return the engine's counters for display, None if there are none."""
    if counters is None:
        return None
    return {
        "running": counters.running,
        "waiting": counters.waiting,
        "prompt_tokens": counters.prompt_tokens,
        "generation_tokens": counters.generation_tokens,
        "kv_cache_percent": counters.kv_cache_percent,
    }
