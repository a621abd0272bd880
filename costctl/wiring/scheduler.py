"""What runs this machine's schedules, in a daemon or without one. The daemon imports it, so it loads nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from costctl.adapters.commands import CostctlCommands
from costctl.adapters.instances.identity import read_instance
from costctl.config.notifications import read_targets
from costctl.daemon.schedule_runner import ScheduleRunner
from costctl.daemon.schedules import Schedules
from costctl.wiring import load_settings
from costctl.wiring.notifications import load_notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from costctl.config.home import Home
    from costctl.daemon.recorder import Recorder
    from costctl.domain.messages import Message
    from costctl.ledger.store import Ledger
    from costctl.ledger.writer import LedgerWriter
    from costctl.ports import Alarms, Clock
    from costctl.wiring.plan import Plan


def make_schedules(
    plan: Plan,
    ledger: Ledger,
    recorder: Recorder,
    writer: LedgerWriter,
    clock: Clock,
    *,
    has_lease: Callable[[int], bool],
) -> Schedules:
    """Return what runs this machine's schedules in a daemon."""
    machine, engine = machine_of(plan.home), plan.engine
    runner = ScheduleRunner(
        ledger=ledger,
        commands=commands_in(plan.home),
        clock=clock,
        submit=writer.submit,
        tell=tell,
        session_id=lambda: recorder.opening.session_id,
    )

    def make_alarms(fire: Callable[[int, datetime], object]) -> Alarms:
        from costctl.adapters.scheduling import ApschedulerAlarms

        return ApschedulerAlarms(ledger.jobs_of(machine), machine, fire)

    return Schedules(
        ledger=ledger,
        machine=machine,
        runner=runner,
        make_alarms=make_alarms,
        earlier_starts_s=lambda: ledger.start_seconds(engine=engine.kind, model=engine.model),
        has_lease=has_lease,
        clock=clock,
    )


def commands_in(home: Home) -> CostctlCommands:
    """Return what runs commands in `home`."""
    return CostctlCommands(home.schedules, environment_of(home))


def environment_of(home: Home) -> dict[str, str]:
    """Return what a command needs to find the same home and settings as this one, from whatever folder."""
    config = os.environ.get("COSTCTL_CONFIG")
    return {"COSTCTL_HOME": str(home.folder)} | ({"COSTCTL_CONFIG": str(Path(config).absolute())} if config else {})


def machine_of(home: Home) -> str:
    """Return this machine's name in the ledger. Raises CostctlError."""
    return read_instance(home.identity, gpu=None, gpu_count=0).machine


def tell(names: Sequence[str], message: Message) -> None:
    """Send `message` to the targets called `names`, or to all; without any target, to nobody. Raises CostctlError."""
    if names or read_targets(load_settings({}).file):
        load_notifier(names).send(message)
