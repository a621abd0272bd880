"""The ports: what the daemon needs from the world, as small as it needs it.

Adapters implement these; tests implement them by hand. Blocking calls say so and are made from a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from datetime import datetime

    from costctl.domain.engines import Counters, ExitStatus, LaunchPlan
    from costctl.domain.gpus import GpuReading
    from costctl.domain.messages import Message
    from costctl.domain.policy import Evidence


class Clock(Protocol):
    """Time, passed in."""

    def now(self) -> datetime:
        """Return the wall clock's time in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never step back and stand still while the machine is suspended."""
        ...

    def suspended_s(self) -> float:
        """Return for how many seconds the machine has been suspended since its boot."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""
        ...


class Gpus(Protocol):
    """The machine's GPUs."""

    def read(self) -> tuple[GpuReading, ...]:
        """Return every GPU's state now; blocking. Raises GpuError."""
        ...

    def release(self) -> None:
        """Let go of the driver until the next reading: a watched GPU does not sleep."""
        ...


class Engine(Protocol):
    """A kind of model server: how it is launched."""

    @property
    def kind(self) -> str:
        """Its name in the ledger: vllm, command, sim."""
        ...

    @property
    def model(self) -> str:
        """The model's name as clients say it."""
        ...

    def plan(self) -> LaunchPlan:
        """Return how to launch it this time; takes a free port if it needs one. Raises MissingPieceError."""
        ...


class EngineProcess(Protocol):
    """One running engine with all its processes."""

    @property
    def pid(self) -> int:
        """The process to terminate: the API server."""
        ...

    @property
    def exited(self) -> asyncio.Future[ExitStatus]:
        """Done when that process has ended."""
        ...

    @property
    def gone(self) -> asyncio.Future[None]:
        """Done when no process of it is left."""
        ...

    def pids(self) -> frozenset[int]:
        """Return all its processes."""
        ...

    def terminate(self) -> None:
        """Ask the API server, and only it, to end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """Kill every process of it (SIGKILL)."""
        ...


class Launcher(Protocol):
    """Starts engines so that they end with the daemon."""

    async def launch(self, plan: LaunchPlan, on_line: Callable[[str], None]) -> EngineProcess:
        """Start the engine; `on_line` gets every line it prints. Raises EngineStartError."""
        ...


class EngineApi(Protocol):
    """Talks to a running engine."""

    async def healthy(self) -> bool:
        """Return whether its health route answers 200 within a few seconds."""
        ...

    async def listening_pid(self) -> int | None:
        """Return the process that listens on the endpoint, None if nobody or unknown."""
        ...

    async def reachable(self) -> bool:
        """Return whether anything at all accepts a connection there."""
        ...

    async def generates(self, timeout_s: float) -> bool:
        """Return whether it answers a one-token request in time, with anything but a server error."""
        ...

    async def counters(self) -> Counters | None:
        """Return its counters, None if it publishes none. Raises EngineUnreadableError."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Logins(Protocol):
    """The people at the machine's terminals."""

    def read(self, recent_s: float) -> Evidence:
        """Return whether somebody typed within the last `recent_s` seconds; blocking."""
        ...


class InstanceAction(Protocol):
    """The ladder's last rung: what is done with the instance after the idle window."""

    @property
    def promise(self) -> str:
        """What it will do, for the line printed before anything is done."""
        ...

    async def perform(self) -> None:
        """Do it. Raises InstanceActionError: the instance is still billed."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreContent:
    """What a store of answers holds; what is None it does not say."""

    entries: int
    bytes_used: int | None = None
    bytes_most: int | None = None


class AnswerStore(Protocol):
    """Keeps answers for a while; all calls are blocking, may come from several threads, and raise AnswerStoreError."""

    @property
    def name(self) -> str:
        """What people call it, without secrets."""
        ...

    def get(self, key: str) -> bytes | None:
        """Return the entry of `key`, None if there is none (any more)."""
        ...

    def put(self, key: str, entry: bytes, ttl_s: float) -> None:
        """Keep an entry for `ttl_s` seconds at most; the store may drop it, or not take it at all."""
        ...

    def content(self) -> StoreContent:
        """Count what is there."""
        ...

    def clear(self) -> int:
        """Drop everything and return how many entries that were."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Notifier(Protocol):
    """Sends messages to people."""

    def send(self, message: Message) -> None:
        """Send it and wait until it is taken; blocking. Raises NotificationError."""
        ...
