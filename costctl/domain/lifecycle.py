"""The engine's lifecycle: which states there are, what may follow what, and what has to be done about it.

=========  =====================================================  ==================
state      what may happen                                        what follows
=========  =====================================================  ==================
OFF        a request comes, or somebody wants it up               STARTING
STARTING   it gives a real answer                                 READY
STARTING   it fails, or is asked to stop                          STOPPING
READY      it crashes, answers no more, or is asked to stop       STOPPING
STOPPING   nothing of it is left; requests wait for it            STARTING
STOPPING   nothing of it is left, after a failure                 FAILED
STOPPING   nothing of it is left                                  OFF
STOPPING   something of it is left although all means were used   STUCK, still billed
STUCK      it is gone after all                                   OFF or FAILED
FAILED     a request comes after the backoff                      STARTING
=========  =====================================================  ==================

`step` is pure: it takes a state and an event and returns the next state with the effects to carry out. Every transition
that settles (READY, OFF, FAILED, STUCK) releases the waiting requests: they are admitted, refused, or a start is
launched for them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

BACKOFF_FIRST_S = 2.0
BACKOFF_LONGEST_S = 300.0
HEALTHY_AFTER_S = 60.0
"""A run that was ready for so long, or has answered a request, has proved itself: its failure counts as the first."""
FUTILE_AFTER_FAILURES = 3
"""After so many failures in a row, requests that are turned away no longer count as work: a client that keeps asking an
engine that cannot start must not keep the machine up, and billed, for ever."""


class EngineState(StrEnum):
    """Where the engine is in its life."""

    OFF = "off"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"
    """Not running; the last run failed to start or crashed."""
    STUCK = "stuck"
    """Asked to end, killed, and still not gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lifecycle:
    """The engine's state with what hangs on it; instants are monotonic seconds.

    `in_flight` requests are with the engine, `waiting` ones wait for it. `last_work_at` is when the last byte of a
    request went out or one was turned away; `closing` means that the daemon ends and starts nothing any more. `reason`
    is why it is in this state, `failure` how the last run broke. `failures` runs in a row broke before they had proved
    themselves, the last one in any case; of these `failed_starts`, the latest, were never ready.
    """

    state: EngineState
    since: float
    last_work_at: float
    in_flight: int = 0
    waiting: int = 0
    most_waiting: int = 4096
    closing: bool = False
    failures: int = 0
    failed_starts: int = 0
    has_answered: bool = False
    """Whether the run that is ready has answered a request."""
    retry_at: float = 0.0
    reason: str = ""
    failure: str = ""


# --- events: what happened -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestCame:
    """An inference request stands at the front door."""


@dataclass(frozen=True, slots=True)
class WaiterLeft:
    """A request that was waiting for the engine is gone."""


@dataclass(frozen=True, slots=True)
class RequestEnded:
    """The last byte of an admitted request is out, or its client left; `answered` if the engine did what was asked."""

    answered: bool = False


@dataclass(frozen=True, slots=True)
class StartWanted:
    """Somebody wants the engine up without having a request (`--eager`)."""


@dataclass(frozen=True, slots=True)
class EngineAnswered:
    """The engine gave a real answer: it is ready."""


@dataclass(frozen=True, slots=True)
class EngineBroke:
    """The start failed, the engine crashed, or it answers no request any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopWanted:
    """The engine has to end; `closing` if the daemon ends with it."""

    reason: str
    closing: bool = False


@dataclass(frozen=True, slots=True)
class CloseCancelled:
    """The daemon goes on after all: the instance could not be stopped, or somebody came back."""


@dataclass(frozen=True, slots=True)
class EngineGone:
    """Nothing is left of the engine: no process, no port, no VRAM."""


@dataclass(frozen=True, slots=True)
class EngineRemains:
    """Something of the engine is left although all means were used."""

    reason: str


Event = (
    RequestCame
    | WaiterLeft
    | RequestEnded
    | StartWanted
    | EngineAnswered
    | EngineBroke
    | StopWanted
    | CloseCancelled
    | EngineGone
    | EngineRemains
)

# --- effects: what has to be done ------------------------------------------------------------------------------------


class Effect(StrEnum):
    """What the shell has to do after a step."""

    ADMIT = "admit"
    """Pass the request that came to the engine."""
    HOLD = "hold"
    """Let the request that came wait."""
    REFUSE = "refuse"
    """Turn the request that came away."""
    LAUNCH = "launch"
    ADMIT_WAITING = "admit waiting"
    REFUSE_WAITING = "refuse waiting"
    END_ENGINE = "end engine"
    """Drain, terminate, kill, verify."""
    DRAINED = "drained"
    """Nothing is in flight any more: the drain may end early."""


Effects = tuple[Effect, ...]


def step(now: Lifecycle, event: Event, at: float) -> tuple[Lifecycle, Effects]:  # noqa: C901 - one arm an event
    """Return the state after `event` at monotonic second `at`, and the effects to carry out in order."""
    match event:
        case RequestCame():
            return _request_came(now, at)
        case WaiterLeft():
            return replace(_with_work(now, at), waiting=max(0, now.waiting - 1)), ()
        case RequestEnded(answered):
            return _request_ended(now, at, answered=answered)
        case StartWanted():
            return _launch(now, at) if _may_launch(now, at) else (now, ())
        case EngineAnswered():
            return _answered(now, at)
        case EngineBroke(reason):
            return _broke(now, reason, at)
        case StopWanted(reason, closing):
            return _stop(now, reason, closing=closing, at=at)
        case CloseCancelled():
            return replace(now, closing=False), ()
        case EngineGone():
            return _gone(now, at)
        case EngineRemains(reason):
            if now.state is not EngineState.STOPPING:
                return now, ()
            return _refuse_waiting(_enter(now, EngineState.STUCK, at, reason=reason), at)


def retry_after_s(now: Lifecycle, at: float) -> float:
    """Return the seconds until a failed engine may be started again."""
    return max(0.0, now.retry_at - at) if now.state is EngineState.FAILED else 0.0


def _request_came(now: Lifecycle, at: float) -> tuple[Lifecycle, Effects]:
    if now.state is EngineState.READY:
        return replace(now, in_flight=now.in_flight + 1), (Effect.ADMIT,)
    if now.closing or now.state is EngineState.STUCK or now.waiting >= now.most_waiting:
        return _with_work(now, at), (Effect.REFUSE,)
    if now.state in (EngineState.STARTING, EngineState.STOPPING):
        return replace(now, waiting=now.waiting + 1), (Effect.HOLD,)
    if not _may_launch(now, at):
        return _with_work(now, at), (Effect.REFUSE,)
    started, effects = _launch(now, at)
    return replace(started, waiting=started.waiting + 1), (Effect.HOLD, *effects)


def _with_work(now: Lifecycle, at: float) -> Lifecycle:
    return now if now.failures >= FUTILE_AFTER_FAILURES else replace(now, last_work_at=at)


def _request_ended(now: Lifecycle, at: float, *, answered: bool) -> tuple[Lifecycle, Effects]:
    has_answered = now.has_answered or (answered and now.state is EngineState.READY)
    after = replace(now, in_flight=max(0, now.in_flight - 1), last_work_at=at, has_answered=has_answered)
    drained = after.in_flight == 0 and after.state is EngineState.STOPPING
    return after, (Effect.DRAINED,) if drained else ()


def _answered(now: Lifecycle, at: float) -> tuple[Lifecycle, Effects]:
    if now.state is not EngineState.STARTING:
        return now, ()
    ready = replace(_enter(now, EngineState.READY, at), failed_starts=0, has_answered=False)
    return replace(ready, in_flight=now.in_flight + now.waiting, waiting=0), (Effect.ADMIT_WAITING,)


def _broke(now: Lifecycle, reason: str, at: float) -> tuple[Lifecycle, Effects]:
    if now.state not in (EngineState.STARTING, EngineState.READY):
        return now, ()
    was_ready = now.state is EngineState.READY
    proved = was_ready and (now.has_answered or at - now.since >= HEALTHY_AFTER_S)
    failures = 1 if proved else now.failures + 1
    broken = replace(
        _enter(now, EngineState.STOPPING, at, reason=reason),
        failures=failures,
        failed_starts=now.failed_starts + (not was_ready),
        retry_at=at + min(BACKOFF_LONGEST_S, BACKOFF_FIRST_S * 2.0 ** (failures - 1)),
        failure=reason,
    )
    refused, effects = _refuse_waiting(broken, at)
    return refused, (*effects, Effect.END_ENGINE)


def _stop(now: Lifecycle, reason: str, *, closing: bool, at: float) -> tuple[Lifecycle, Effects]:
    after = replace(now, closing=now.closing or closing)
    effects: Effects = ()
    if after.waiting and (after.closing or now.state is EngineState.STARTING):
        after, effects = _refuse_waiting(after, at)
    if now.state in (EngineState.STARTING, EngineState.READY):
        # A stop that was asked for is no failure: whatever failed before is forgotten.
        stopping = _enter(after, EngineState.STOPPING, at, reason=reason)
        stopping = replace(stopping, failures=0, failed_starts=0, retry_at=0.0)
        return stopping, (*effects, Effect.END_ENGINE)
    return after, effects


def _gone(now: Lifecycle, at: float) -> tuple[Lifecycle, Effects]:
    if now.state not in (EngineState.STOPPING, EngineState.STUCK):
        return now, ()
    if now.failures:
        return _refuse_waiting(_enter(now, EngineState.FAILED, at, reason=now.failure), at)
    off = _enter(now, EngineState.OFF, at)
    if off.waiting and not off.closing:
        return _launch(off, at)
    return off, ()


def _refuse_waiting(now: Lifecycle, at: float) -> tuple[Lifecycle, Effects]:
    """Turn away all who wait; they were work until now, so that idleness cannot strike the moment a start fails."""
    worked = _with_work(now, at) if now.waiting else now
    return replace(worked, waiting=0), (Effect.REFUSE_WAITING,)


def _may_launch(now: Lifecycle, at: float) -> bool:
    if now.closing:
        return False
    return now.state is EngineState.OFF or (now.state is EngineState.FAILED and at >= now.retry_at)


def _launch(now: Lifecycle, at: float) -> tuple[Lifecycle, Effects]:
    return _enter(now, EngineState.STARTING, at), (Effect.LAUNCH,)


def _enter(now: Lifecycle, state: EngineState, at: float, *, reason: str = "") -> Lifecycle:
    return replace(now, state=state, since=at, reason=reason)
