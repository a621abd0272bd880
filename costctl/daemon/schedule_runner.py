"""Run a schedule's command for a due time: taken once, never twice at a time, recorded however it ends."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING

from costctl.domain.durations import format_duration
from costctl.domain.messages import BodyFormat, Message
from costctl.domain.schedules import ALIVE_EVERY_S, RunOutcome, outcome_of, seems_dead, too_late
from costctl.errors import CostctlError, LedgerError
from costctl.waiting import done_within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from costctl.domain.schedules import Schedule
    from costctl.ledger.store import Ledger
    from costctl.ledger.values import ScheduleRun
    from costctl.ports import Clock, Command, Commands

logger = logging.getLogger(__name__)

_END_BY_ITSELF_S = 5.0
_END_AFTER_TERM_S = 30.0
_LOOK_EVERY_S = 0.1


class ScheduleRunner:
    """Runs commands of schedules: `running` are those that go on, `taken` also what the ledger lacks the end of.

    `submit` has the ledger changed, in the end, by a verb that needs no answer. `tell` sends a message to targets;
    blocking, may raise CostctlError.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        commands: Commands,
        clock: Clock,
        submit: Callable[[Callable[[Ledger], object]], object],
        tell: Callable[[Sequence[str], Message], None],
        session_id: Callable[[], int | None],
    ) -> None:
        self._ledger = ledger
        self._commands = commands
        self._clock = clock
        self._submit = submit
        self._tell = tell
        self._session_id = session_id
        self._processes: dict[int, Command] = {}
        self.running: dict[int, Schedule] = {}
        self.taken: set[int] = set()

    async def run(self, schedule: Schedule, due_at: datetime) -> RunOutcome | None:
        """Run `schedule` for `due_at`, wait for its end, and return what became of it; None if others have that time.

        Raises:
            LedgerError: the due time could not be taken, so nothing was run.
        """
        now = self._clock.now()
        if too_late(schedule, due_at, now):
            return await self._pass_over(schedule, due_at, now)
        arguments = schedule.arguments_at(due_at)
        log = self._commands.log_of(schedule.name, now)
        run_id = await asyncio.to_thread(
            self._ledger.begin_schedule_run,
            schedule.id,
            due_at=due_at,
            at=now,
            command=arguments,
            session_id=self._session_id(),
            log=str(log),
        )
        if run_id is None:
            return None
        self.running[run_id] = schedule
        self.taken.add(run_id)
        try:
            return await self._run_taken(run_id, schedule, arguments, log)
        finally:
            del self.running[run_id]

    def started_by_others(self, machine: str) -> list[ScheduleRun]:
        """Return runs that go on here though an earlier daemon or another command began them; blocking.

        The end of those that nobody runs any more is recorded, as far as it is known. Raises CostctlError.
        """
        found = self._ledger.schedule_runs(machine, outcome=RunOutcome.RUNNING)
        self.taken -= self.taken - {run.id for run in found} - self.running.keys()  # the ledger has their ends
        others = [run for run in found if run.id not in self.taken]
        here = [run for run in others if self._commands.runs(run.schedule)]
        dead = [run for run in others if run not in here and seems_dead(run.alive_at, self._clock.now())]
        schedules = {schedule.id: schedule for schedule in self._ledger.schedules(machine)} if dead else {}
        for run in dead:
            self._end_for_others(run, schedules.get(run.schedule_id))
        return here

    def _end_for_others(self, run: ScheduleRun, schedule: Schedule | None) -> None:
        code = self._commands.exit_code_of(Path(run.log)) if run.log else None
        outcome = outcome_of(code)
        detail = f"what had started it was gone before its end; its output is in {run.log}"
        self._ledger.end_schedule_run(run.id, at=None, outcome=outcome, exit_code=code, detail=detail)
        if schedule is not None:  # else it was removed in this moment
            self._report(schedule, outcome, detail, code)

    async def stop(self) -> None:
        """Have what runs end: by itself, if it is about to, else asked, else killed."""
        await self._ended_within(_END_BY_ITSELF_S)
        for process in self._processes.values():
            process.terminate()
        await self._ended_within(_END_AFTER_TERM_S)
        for process in self._processes.values():
            process.kill()
        await self._ended_within(_END_BY_ITSELF_S)

    async def _ended_within(self, seconds: float) -> None:
        deadline = self._clock.monotonic() + seconds
        while self.running and self._clock.monotonic() < deadline:
            await self._clock.sleep(_LOOK_EVERY_S)

    async def _run_taken(self, run_id: int, schedule: Schedule, arguments: Sequence[str], log: Path) -> RunOutcome:
        end = partial(self._end, run_id, schedule)
        try:
            process = await self._commands.start(
                schedule.name, arguments, folder=schedule.folder, log=log, run_id=run_id
            )
        except CostctlError as error:
            return await end(RunOutcome.FAILED, None, str(error))
        if process is None:
            return await end(RunOutcome.SKIPPED, None, "the run before it was still going on")
        logger.info("schedule %s: runs `costctl %s`, output in %s", schedule.name, " ".join(arguments), log)
        self._processes[run_id] = process
        try:
            code, note = await self._watch(run_id, process, schedule.limit_s)
        except asyncio.CancelledError:  # by Ctrl-C
            process.terminate()
            self._record(run_id, RunOutcome.FAILED, None, "interrupted")
            raise
        finally:
            del self._processes[run_id]
        if code == 0:
            return await end(RunOutcome.SUCCEEDED, code, "")
        return await end(RunOutcome.FAILED, code, note + await asyncio.to_thread(process.last_lines))

    async def _watch(self, run_id: int, process: Command, limit_s: float) -> tuple[int, str]:
        """Return the exit code, and what was done about it."""
        ended = asyncio.ensure_future(process.wait())
        if await self._ends_within(run_id, ended, limit_s):
            return ended.result(), ""
        process.terminate()
        if not await done_within(self._clock, ended, _END_AFTER_TERM_S):
            process.kill()
        return await ended, f"ended by costctl: it ran for more than {format_duration(limit_s)}\n"

    async def _ends_within(self, run_id: int, ended: asyncio.Future[int], limit_s: float) -> bool:
        deadline = self._clock.monotonic() + limit_s
        while (left_s := deadline - self._clock.monotonic()) > 0:
            if await done_within(self._clock, ended, min(left_s, ALIVE_EVERY_S)):
                return True
            with suppress(LedgerError):  # said again soon
                self._submit(methodcaller("schedule_run_lives", run_id, at=self._clock.now()))
        return ended.done()

    async def _pass_over(self, schedule: Schedule, due_at: datetime, now: datetime) -> RunOutcome | None:
        late = format_duration((now - due_at).total_seconds())
        detail = f"{late} late, and its grace is {format_duration(schedule.grace_s)}"
        verb = partial(self._ledger.pass_over_run, due_at=due_at, outcome=RunOutcome.MISSED, detail=detail)
        if not await asyncio.to_thread(verb, schedule.id):
            return None
        await self.report(schedule, RunOutcome.MISSED, detail)
        return RunOutcome.MISSED

    async def _end(
        self, run_id: int, schedule: Schedule, outcome: RunOutcome, exit_code: int | None, detail: str
    ) -> RunOutcome:
        self._record(run_id, outcome, exit_code, detail)
        await self.report(schedule, outcome, detail, exit_code)
        return outcome

    def _record(self, run_id: int, outcome: RunOutcome, exit_code: int | None, detail: str) -> None:
        verb = methodcaller(
            "end_schedule_run", run_id, at=self._clock.now(), outcome=outcome, exit_code=exit_code, detail=detail
        )
        self._submit(verb)

    async def report(self, schedule: Schedule, outcome: RunOutcome, detail: str, exit_code: int | None = None) -> None:
        """Say what became of a due time: in the log, and if it is no success to those who want to know."""
        await asyncio.to_thread(self._report, schedule, outcome, detail, exit_code)

    def _report(self, schedule: Schedule, outcome: RunOutcome, detail: str, exit_code: int | None) -> None:
        words = f"schedule {schedule.name}: {outcome}" + (f" with exit code {exit_code}" if exit_code else "")
        if outcome is RunOutcome.SUCCEEDED:
            logger.info("%s", words)
            return
        logger.error("%s: %s", words, detail)
        message = Message(title=f"costctl: {words}", body=detail or words, body_format=BodyFormat.TEXT)
        try:
            self._tell(schedule.notify, message)
        except CostctlError as error:
            logger.error("schedule %s: nobody was told: %s", schedule.name, error)  # noqa: TRY400 - the words say it
