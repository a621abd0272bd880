"""The ports: what the daemon needs from the world, as small as it needs it.

Adapters implement these; tests implement them by hand. Blocking calls say so and are made from a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from costctl.domain.engines import Counters, ExitStatus, LaunchPlan
    from costctl.domain.gpus import GpuReading
    from costctl.domain.http_batches import Fault
    from costctl.domain.messages import Message
    from costctl.domain.policy import Evidence
    from costctl.domain.schedules import Alarm


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


class Upload(Protocol):
    """A file that is coming in."""

    def write(self, content: bytes) -> None:
        """Append to it; blocking. Raises CostctlError, StorageFullError."""
        ...

    def keep(self) -> None:
        """Make it safe; blocking. Raises CostctlError, StorageFullError."""
        ...

    def discard(self) -> None:
        """Forget it; blocking."""
        ...


class FileStore(Protocol):
    """Files and batches that came over HTTP, on the disk. Everything blocks, and raises CostctlError."""

    def load(self) -> list[Mapping[str, Any]]:
        """Return all records, and remove what a crash has left."""
        ...

    def save(self, identity: str, record: Mapping[str, Any]) -> None:
        """Keep a record, in place of the one there was."""
        ...

    def remove(self, identity: str) -> None:
        """Remove a record and all that belongs to it."""
        ...

    def content(self, identity: str) -> Path:
        """Return where a file's content is."""
        ...

    def upload(self, identity: str) -> Upload:
        """Begin a file."""
        ...

    def prepare(self, batch: str, input_file: str) -> None:
        """Make the place where a batch is worked on; its input stays there whatever becomes of the file."""
        ...

    def batch_input(self, batch: str) -> Path:
        """Return the batch's input."""
        ...

    def batch_results(self, batch: str) -> Path:
        """Return where its results go."""
        ...

    def take_output(self, batch: str, identity: str, *, failures: bool) -> int:
        """Make the results so far, or those that are failures, a file's content; return its size, 0 for none."""
        ...

    def has_room(self) -> bool:
        """Return whether the disk has room to go on with."""
        ...

    def clear(self, batch: str) -> None:
        """Remove the place where a batch was worked on."""
        ...


class BatchCommand(Protocol):
    """A `costctl batch` that runs."""

    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what it tells, to its end."""
        ...

    async def wait(self) -> tuple[int, str]:
        """Return its exit code, a signal's negative, and its last words."""
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        ...


class BatchCommands(Protocol):
    """Starts `costctl batch` on behalf of the daemon; what it started ends with the daemon."""

    async def start(
        self, source: Path, results: Path, *, endpoint: str, model: str, give_up: Fault | None = None
    ) -> BatchCommand:
        """Run a file's lines, all of which have to be for `endpoint`, and if they name no model for `model`.

        Its results are to be in the same folder. With `give_up` nothing is computed any more: all lines that are not
        done fail of that.

        Raises:
            CostctlError: it cannot be started.
        """
        ...


class Alarms(Protocol):
    """Wakes up when schedules are due, and says which: `Callable[[int, datetime], None]` gets id and due time."""

    def set(self, alarms: Sequence[Alarm]) -> None:
        """Wake up for these from now on, and for no others; blocking. Raises LedgerError."""
        ...

    def close(self) -> None:
        """Wake up no more; blocking."""
        ...


class Command(Protocol):
    """A command of costctl that runs in a process of its own."""

    async def wait(self) -> int:
        """Return its exit code when it has ended; a signal that ended it is negative."""
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        ...

    def kill(self) -> None:
        """Kill it (SIGKILL)."""
        ...

    def last_lines(self) -> str:
        """Return the end of its output; blocking."""
        ...


class Commands(Protocol):
    """Runs commands of costctl, one of each name at a time on this machine, whoever started it."""

    def log_of(self, name: str, at: datetime) -> Path:
        """Return where the output of a run that starts then goes."""
        ...

    def runs(self, name: str) -> bool:
        """Return whether the last one of that name still runs; blocking."""
        ...

    def exit_code_of(self, log: Path) -> int | None:
        """Return how the one with that log ended; None if it was killed, or nobody knows; blocking."""
        ...

    async def start(
        self, name: str, arguments: Sequence[str], *, folder: str, log: Path, run_id: int
    ) -> Command | None:
        """Start one in `folder` that knows its number; None if the last one of that name still runs.

        Raises:
            CostctlError: it cannot be started.
        """
        ...
