"""The idle policy: from every signal to Keep, Warn or Stop, with the reason.

Idle is counted from the last moment at which anything was active: the daemon's start ("never used" is idle), the engine
becoming ready, the last byte of a request going out, or a signal seen active. All instants are monotonic seconds, so a
stepped clock or a suspended laptop neither bills nor kills.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.lifecycle import EngineState, Lifecycle

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What one signal showed when it was read: active, quiet, or (None) unreadable, and in words."""

    name: str
    active: bool | None
    detail: str
    age_s: float = 0.0
    """How long ago it was active, for signals that know (a login's last key stroke)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """One signal over time; `lasts` while it was active in the very moment of its last reading."""

    name: str
    active: bool | None
    detail: str
    lasts: bool = False
    last_active_at: float | None = None
    unreadable_since: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class IdlePolicy:
    """How long idleness may last; `window_s` None means for ever.

    Work that comes in the last `grace_s` seconds of the window still cancels the stop. A signal that cannot be read
    counts as active for `unreadable_cap_s` at most.
    """

    window_s: float | None
    grace_s: float
    unreadable_cap_s: float


class Choice(StrEnum):
    """What the policy wants."""

    KEEP = "keep"
    WARN = "warn"
    STOP = "stop"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the policy wants and why; `stop_at` is when idleness would end the session if nothing happens."""

    choice: Choice
    reason: str
    idle_since: float | None = None
    stop_at: float | None = None


def observe(known: tuple[Signal, ...], seen: Iterable[Evidence], at: float) -> tuple[Signal, ...]:
    """Return the signals after the evidence read at monotonic second `at`; what was not read now keeps its state."""
    signals = {signal.name: signal for signal in known}
    for evidence in seen:
        before = signals.get(evidence.name)
        signals[evidence.name] = _update(before, evidence, at)
    return tuple(signals.values())


def _update(before: Signal | None, evidence: Evidence, at: float) -> Signal:
    signal = Signal(
        name=evidence.name,
        active=evidence.active,
        detail=evidence.detail,
        last_active_at=before.last_active_at if before else None,
    )
    if evidence.active is None:
        since = before.unreadable_since if before and before.unreadable_since is not None else at
        return replace(signal, unreadable_since=since)
    if evidence.active:
        earlier = float("-inf") if signal.last_active_at is None else signal.last_active_at
        return replace(signal, last_active_at=max(at - evidence.age_s, earlier), lasts=not evidence.age_s)
    # What was active at the last reading may have been so until just now: nobody looked in between.
    return replace(signal, last_active_at=at) if before and before.lasts else signal


def judge(lifecycle: Lifecycle, signals: tuple[Signal, ...], policy: IdlePolicy, *, since: float, at: float) -> Verdict:
    """Return what to do at monotonic second `at`, for a daemon that runs since `since`."""
    active_now = _engine_activity(lifecycle) or _signal_activity(signals, policy, at)
    if active_now:
        return Verdict(choice=Choice.KEEP, reason=active_now)
    idle_since = max(since, lifecycle.last_work_at, _ready_since(lifecycle), *_last_active(signals, policy, at))
    idle_for = format_duration(at - idle_since)
    if policy.window_s is None:
        return Verdict(choice=Choice.KEEP, reason=f"idle for {idle_for}; idle shutdown is off", idle_since=idle_since)
    stop_at = idle_since + policy.window_s
    if at >= stop_at:
        choice, reason = Choice.STOP, f"idle for {idle_for}, the window is {format_duration(policy.window_s)}"
    elif at >= stop_at - policy.grace_s:
        choice, reason = Choice.WARN, f"idle for {idle_for}, stops in {format_duration(stop_at - at)}"
    else:
        choice, reason = Choice.KEEP, f"idle for {idle_for}, stops in {format_duration(stop_at - at)}"
    return Verdict(choice=choice, reason=reason, idle_since=idle_since, stop_at=stop_at)


def _ready_since(lifecycle: Lifecycle) -> float:
    return lifecycle.since if lifecycle.state is EngineState.READY else float("-inf")


def _engine_activity(lifecycle: Lifecycle) -> str | None:
    if lifecycle.in_flight:
        return f"{_count(lifecycle.in_flight, 'request')} in flight"
    if lifecycle.waiting:
        return f"{_count(lifecycle.waiting, 'request')} waiting for the engine"
    if lifecycle.state in (EngineState.STARTING, EngineState.STOPPING):
        return f"the engine is {lifecycle.state.value}"
    return None


def _signal_activity(signals: tuple[Signal, ...], policy: IdlePolicy, at: float) -> str | None:
    for signal in signals:
        if signal.lasts:
            return f"{signal.name}: {signal.detail}"
        if signal.unreadable_since is not None and at < signal.unreadable_since + policy.unreadable_cap_s:
            return f"{signal.name} cannot be read, which counts as active: {signal.detail}"
    return None


def _last_active(signals: tuple[Signal, ...], policy: IdlePolicy, at: float) -> list[float]:
    moments = [signal.last_active_at for signal in signals if signal.last_active_at is not None]
    moments += [
        min(at, signal.unreadable_since + policy.unreadable_cap_s)
        for signal in signals
        if signal.unreadable_since is not None
    ]
    return moments


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
