"""The work on one batch that was ordered over HTTP: a process computes its lines, another gives up what is left."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costctl.domain.http_batches import Counts, End, Fault, Status, Usage
from costctl.errors import CostctlError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from costctl.daemon.stored_batches import StoredBatches
    from costctl.domain.http_batches import HttpBatch
    from costctl.ports import BatchCommand, BatchCommands, Clock

logger = logging.getLogger(__name__)

_MOST_TRIES = 5
_TRY_AGAIN_S = 5.0
_ROOM_AGAIN_S = 10.0
_THROUGH = (0, 4)
"""Exit codes of `costctl batch`: all lines are done, of which some may have failed."""
_UNSOUND, _NO_ENGINE, _INTERRUPTED = 2, 3, 130


@dataclass(kw_only=True, slots=True)
class _Told:
    """What a process has told so far."""

    has_lease: bool = False
    is_full: bool = False
    faults: tuple[Fault, ...] = ()
    ended: str = ""
    why: str = ""


class HttpBatchWork:
    """Work on the batch `identity`; `may_give_up` bounds how many batches' rests are given up at once."""

    def __init__(
        self,
        identity: str,
        *,
        batches: StoredBatches,
        commands: BatchCommands,
        clock: Clock,
        may_give_up: asyncio.Semaphore,
    ) -> None:
        self._identity = identity
        self._batches = batches
        self._commands = commands
        self._clock = clock
        self._may_give_up = may_give_up
        self._command: BatchCommand | None = None
        self._computing: _Told | None = None
        self._is_stopping = False

    @property
    def is_on_its_way(self) -> bool:
        """Whether its lines are made ready for the engine, but it has not come to its lease yet."""
        return self._computing is not None and not self._computing.has_lease

    async def run(self) -> None:
        """Work until the batch is over, or the daemon stops: then the next one goes on."""
        end = await self._compute()
        if end is not None:
            await self._batches.approach(self._identity, end.status)
            await self._give_up_rest(end)
            await self._publish(end)

    def interrupt(self) -> None:
        """Have no more of its lines computed."""
        if self._computing is not None and self._command is not None:
            self._command.terminate()

    def stop(self) -> None:
        """Leave the batch to the next daemon."""
        self._is_stopping = True
        if self._command is not None:
            self._command.terminate()

    def kill(self) -> None:
        """End its process at once."""
        if self._command is not None:
            self._command.kill()

    # --- computing -----------------------------------------------------------------------------------------------

    async def _compute(self) -> End | None:
        """Have the lines computed; return the batch's end, None if the daemon stops before that."""
        for tries in range(1, _MOST_TRIES + 1):
            end = await self._compute_once(may_try_again=tries < _MOST_TRIES)
            if end is not None or self._is_stopping:
                return end
            await self._pause(unless=lambda: not self._is_wanted())
        return None

    async def _compute_once(self, *, may_try_again: bool) -> End | None:
        if not self._is_wanted():
            return _asked_end(self._batch)
        self._computing = told = _Told()
        try:
            code, words = await self._follow(told)
        except CostctlError as error:
            return _failed("batch_failed", str(error))
        finally:
            self._computing = None
        return self._judge(told, code, words, may_try_again=may_try_again)

    def _judge(self, told: _Told, code: int, words: str, *, may_try_again: bool) -> End | None:
        """Return which end of the batch the end of its process is, None if it is none."""
        if code in _THROUGH and self._batch.status is Status.IN_PROGRESS:
            return End(status=Status.COMPLETED)
        if not self._is_wanted():
            return _asked_end(self._batch)
        if told.faults:
            return End(status=Status.FAILED, faults=told.faults)
        if told.ended == "cancelled":
            return End(status=Status.CANCELLED, faults=(Fault(code="cancelled", message=told.why),))
        may_pass = told.is_full or code < 0 or code == _INTERRUPTED or told.ended == "no daemon"
        if self._is_stopping or (may_pass and may_try_again):
            return None
        return _failed("engine_failed" if code == _NO_ENGINE else "batch_failed", told.why or words)

    # --- the end -------------------------------------------------------------------------------------------------

    async def _give_up_rest(self, end: End) -> None:
        """Put the lines that will not be done among the errors, so that every line is in one of the two files."""
        fault = self._batch.fault_of_rest(end)
        if fault is None:
            return
        for _ in range(_MOST_TRIES):
            async with self._may_give_up:
                if self._is_stopping or await self._give_up_once(fault):
                    return
            await self._pause()
        logger.error("%s: its error file lacks the lines that were not done", self._identity)

    async def _give_up_once(self, fault: Fault) -> bool:
        """Return whether it went well, or the lines were unsound all along, so that there are none to give up."""
        try:
            code, words = await self._follow(_Told(), give_up=fault)
        except CostctlError as error:
            code, words = -1, str(error)
        if code in {*_THROUGH, _UNSOUND}:
            return True
        if not self._is_stopping:
            logger.warning("%s: lines that were not done are not in its error file yet: %s", self._identity, words)
        return False

    async def _publish(self, end: End) -> None:
        """Give the results their names and the batch its last state, however often that takes: the disk may be full."""
        while not self._is_stopping:
            was_cancelled = self._batch.status is Status.CANCELLING and end.status is not Status.CANCELLED
            try:
                await self._batches.publish(self._identity, _asked_end(self._batch) if was_cancelled else end)
            except CostctlError as error:
                logger.error("%s: its results cannot be kept yet: %s", self._identity, error)  # noqa: TRY400
                await self._clock.sleep(_ROOM_AGAIN_S)
                continue
            return

    # --- processes -----------------------------------------------------------------------------------------------

    async def _follow(self, told: _Told, *, give_up: Fault | None = None) -> tuple[int, str]:
        """Run a process to its end; return its exit code and last words. Raises CostctlError."""
        batch = self._batch
        source, results = self._batches.paths(batch.id)
        self._command = command = await self._commands.start(
            source, results, endpoint=batch.endpoint, model=batch.default_model, give_up=give_up
        )
        if self._is_stopping or (give_up is None and not self._is_wanted()):
            command.terminate()
        try:
            async for event in command.events():
                await self._take(event, told)
            return await command.wait()
        except BaseException:
            command.kill()
            raise
        finally:
            self._command = None

    async def _take(self, event: Mapping[str, Any], told: _Told) -> None:
        """Take in what a process tells."""
        match event["event"]:
            case "problems":
                told.faults = tuple(_faults(event["problems"], event["count"]))
            case "full":
                told.is_full = True
            case "checked":
                await self._take_checked(event["lines"], event["models"])
            case "progress" | "ended":
                told.has_lease = True
                told.ended, told.why = event.get("ended", ""), event.get("why", "")
                succeeded = event["done"] - event["failed"]
                counts = Counts(total=event["lines"], completed=succeeded, failed=event["failed"])
                usage = Usage(**event["usage"]) if event.get("usage") else None
                self._batches.note(self._identity, counts=counts, usage=usage)

    async def _take_checked(self, lines: int, models: list[str]) -> None:
        self._batches.note(self._identity, model=models[0] if len(models) == 1 else None)
        if self._computing is not None and self._batch.status is Status.VALIDATING:
            self._batches.note(self._identity, counts=Counts(total=lines))
            with suppress(CostctlError):  # it holds; what could not be kept is found out again
                await self._batches.move(self._identity, Status.IN_PROGRESS)

    async def _pause(self, *, unless: Callable[[], bool] = lambda: False) -> None:
        """Let some time pass, and while the disk is full more of it, for which no engine is needed."""
        await self._clock.sleep(_TRY_AGAIN_S)
        while not (self._is_stopping or unless() or await self._batches.has_room()):
            logger.warning("%s: waits for room on the disk", self._identity)
            await self._clock.sleep(_ROOM_AGAIN_S)

    # --- inside --------------------------------------------------------------------------------------------------

    @property
    def _batch(self) -> HttpBatch:
        return self._batches.get(self._identity)

    def _is_wanted(self) -> bool:
        return self._batch.needs_engine(self._batches.now())


def _asked_end(batch: HttpBatch) -> End:
    """Return the end of a batch that needs the engine no more."""
    ends = {Status.FINALIZING: Status.COMPLETED, Status.CANCELLING: Status.CANCELLED}
    return End(status=ends.get(batch.status, Status.EXPIRED))


def _faults(problems: list[dict[str, Any]], count: int) -> Iterator[Fault]:
    """Yield what is wrong with lines, of which only the first are told."""
    for problem in problems:
        yield Fault(code="invalid_line", message=problem["text"], line=problem["line"])
    if more := count - len(problems):
        yield Fault(code="invalid_line", message=f"and {more:,} more")


def _failed(code: str, message: str) -> End:
    return End(status=Status.FAILED, faults=(Fault(code=code, message=message),))
