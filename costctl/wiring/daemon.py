"""Make a daemon from its plan, and run it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import uvloop

from costctl import __version__
from costctl.adapters.batch_commands import BatchProcesses
from costctl.adapters.clock import SystemClock
from costctl.adapters.engines.api import HttpEngineApi
from costctl.adapters.engines.kinds import served_name
from costctl.adapters.engines.revision import engine_revision
from costctl.adapters.file_store import FolderStore
from costctl.adapters.instances.identity import read_instance, read_power_on
from costctl.adapters.locks import HomeLock, port_owner
from costctl.adapters.logins import TerminalLogins
from costctl.adapters.logs import EngineLog, start_daemon_log
from costctl.adapters.processes.launcher import KeeperLauncher
from costctl.adapters.processes.leftovers import end_leftovers
from costctl.adapters.systemd import ServiceManager
from costctl.daemon.activity import Activity
from costctl.daemon.batch_routes import BatchRoutes
from costctl.daemon.batches import Batches
from costctl.daemon.control import Control
from costctl.daemon.daemon import Daemon
from costctl.daemon.frontdoor.caching import AnswerCache
from costctl.daemon.frontdoor.door import FrontDoor
from costctl.daemon.frontdoor.listener import Listener
from costctl.daemon.frontdoor.own import OwnRoutes
from costctl.daemon.frontdoor.stored import StoredRoutes
from costctl.daemon.http_batches import HttpBatches
from costctl.daemon.idle import IdleWatch
from costctl.daemon.pulse import Pulse
from costctl.daemon.recorder import Recorder
from costctl.daemon.run import EngineRun, Limits
from costctl.daemon.session import Opening, open_session
from costctl.daemon.status import StatusView
from costctl.daemon.stored_batches import StoredBatches
from costctl.daemon.stored_files import StoredFiles
from costctl.daemon.supervisor import Supervisor
from costctl.daemon.suspension import Suspensions
from costctl.domain.policy import IdlePolicy
from costctl.ledger.store import Ledger
from costctl.ledger.writer import LedgerWriter
from costctl.wiring.connections import allow_many_connections
from costctl.wiring.prices import as_rented
from costctl.wiring.scheduler import make_schedules

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.config.settings import Settings
    from costctl.domain.lifecycle import Event
    from costctl.ports import Clock
    from costctl.wiring.plan import Plan

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0
_LOOKS_A_WINDOW = 5
_FLUSH_TIMEOUT_S = 10.0
_KILL_AND_VERIFY_S = 60.0


def serve(plan: Plan) -> None:
    """Run the daemon until it ends.

    Raises:
        CostctlError: it cannot start.
    """
    lock = HomeLock(plan.home.lock)
    lock.take()
    try:
        plan.home.logs.mkdir(exist_ok=True, mode=0o700)
        log = start_daemon_log(plan.home.daemon_log)
        try:
            _serve_locked(plan)
        finally:
            log.stop()
    finally:
        lock.release()


def _serve_locked(plan: Plan) -> None:
    for line in plan.lines():
        logger.info("%s", line)
    allow_many_connections()
    killed = end_leftovers(plan.home.engine_record)
    if killed:
        logger.warning("killed what an earlier engine had left behind: processes %s", ", ".join(map(str, killed)))
    clock = SystemClock()
    if plan.settings.ledger is None and not plan.home.ledger_file.exists():
        _make_ledger_elsewhere(plan.home.ledger_url)
    with Ledger.open(plan.settings.ledger or plan.home.ledger_url) as ledger:
        opening = _open_session(plan, ledger, clock)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(plan, ledger, opening, clock))


def _make_ledger_elsewhere(url: str) -> None:
    """Make a new ledger in a process of its own: Alembic would stay in this one's memory, 9 MB for its whole life.

    If that fails, opening the ledger here fails too, and says why.
    """
    program = "import sys; from costctl.ledger.store import Ledger; Ledger.open(sys.stdin.read()).close()"
    subprocess.run([sys.executable, "-c", program], input=url, text=True, check=False, capture_output=True)


def _open_session(plan: Plan, ledger: Ledger, clock: Clock) -> Opening:
    names = [reading.name for reading in plan.readings]
    power_on = read_power_on(clock.now())
    machine = read_instance(plan.home.identity, gpu=names[0] if names else None, gpu_count=len(names))
    instance = as_rented(machine, plan.settings)
    opening = open_session(
        ledger,
        instance=instance,
        key=power_on.key,
        billed_since=power_on.started_at if _billed_from_boot(plan.settings) else None,
        price=plan.price.price,
        rule=plan.billing.rule_for(instance).name,
        clock=clock,
    )
    for remark in opening.remarks:
        logger.info("%s", remark)
    return opening


async def _run(plan: Plan, ledger: Ledger, opening: Opening, clock: Clock) -> None:
    daemon = assemble(plan, ledger, opening, clock)
    # What has been imported stays for ever: walking through it again and again would stop requests for 100 ms at once.
    gc.collect()
    gc.freeze()
    await daemon.run()


def assemble(plan: Plan, ledger: Ledger, opening: Opening, clock: Clock) -> Daemon:
    """Put a daemon together on the running event loop."""
    settings, home = plan.settings, plan.home
    writer = LedgerWriter(ledger)
    recorder = Recorder(writer=writer, opening=opening, clock=clock)
    supervisor = Supervisor(
        clock=clock,
        new_run=lambda report: new_run(report),  # noqa: PLW0108 - made below, as it needs the supervisor
        policy=_policy(settings),
        most_waiting=settings.max_waiting,
    )
    new_run = _run_factory(plan, ledger, supervisor, recorder, clock)
    supervisor.listen(recorder.lifecycle_changed)
    batches = Batches(
        supervisor=supervisor,
        recorder=recorder,
        clock=clock,
        shut_down=(lambda why: idle.stop_soon(why)) if settings.stops_instance else None,  # noqa: PLW0108 - made below
    )
    store = FolderStore(home.files)
    files = StoredFiles(store=store, clock=clock, most_bytes=settings.files_max_size, new_id=_new_id)
    stored = StoredBatches(store=store, files=files, new_id=_new_id)
    http_batches = HttpBatches(
        files=files,
        batches=stored,
        commands=BatchProcesses(home.folder),
        clock=clock,
        model=plan.engine.model,
    )
    cache = _cache(plan, supervisor, recorder, clock)
    look_every_s = min(_LOOK_EVERY_S, (settings.idle_shutdown or 3600) / _LOOKS_A_WINDOW)
    schedules = make_schedules(plan, ledger, recorder, writer, clock, has_lease=batches.has_seen)
    activity = Activity(
        supervisor=supervisor,
        gpus=plan.gpus,
        logins=TerminalLogins(),
        clock=clock,
        recent_s=look_every_s * 2,
        watches=(batches.evidence, http_batches.evidence, schedules.evidence),
    )
    status = StatusView(
        supervisor=supervisor,
        activity=activity,
        recorder=recorder,
        writer=writer,
        batches=batches,
        clock=clock,
        cost_so_far=plan.billing.cost_so_far,
        facts=_facts(plan),
        cache=cache,
    )

    async def settle_ledger() -> None:
        await asyncio.to_thread(writer.flush, _FLUSH_TIMEOUT_S)

    idle = IdleWatch(
        supervisor=supervisor,
        activity=activity,
        recorder=recorder,
        action=plan.action,
        settle_ledger=settle_ledger,
        clock=clock,
        look_every_s=look_every_s,
    )
    own = OwnRoutes(supervisor=supervisor, model=plan.engine.model, started_at=int(clock.now().timestamp()))
    door = FrontDoor(
        supervisor=supervisor,
        keys=plan.keys,
        book=recorder,
        own=own.answer,
        stored=StoredRoutes(files=files, batches=stored, runs=http_batches).answer,
        most_body=settings.max_body,
        cache=cache,
    )
    pulse = Pulse(
        supervisor=supervisor,
        activity=activity,
        recorder=recorder,
        clock=clock,
        cost_so_far=plan.billing.cost_so_far,
    )
    batch_routes = BatchRoutes(batches=batches, pulse=pulse, clock=clock)

    def control(ask_to_end: Callable[[str], None]) -> Control:
        return Control(
            path=home.control_socket,
            status=status,
            supervisor=supervisor,
            batches=batch_routes,
            door=door,
            schedules=schedules,
            ask_to_end=ask_to_end,
            cache=cache,
        )

    return Daemon(
        supervisor=supervisor,
        door=door,
        listener=Listener(door.handle),
        control=control,
        idle=idle,
        recorder=recorder,
        http_batches=http_batches,
        suspensions=Suspensions(recorder=recorder, writer=writer, clock=clock),
        schedules=schedules,
        writer=writer,
        status=status,
        manager=ServiceManager(),
        clock=clock,
        address=None if settings.no_listen else (settings.host, settings.port),
        explain_port=port_owner,
        eager=settings.eager,
        stop_within_s=settings.drain_timeout + settings.stop_timeout + _KILL_AND_VERIFY_S,
    )


def _run_factory(
    plan: Plan, ledger: Ledger, supervisor: Supervisor, recorder: Recorder, clock: Clock
) -> Callable[[Callable[[Event], None]], EngineRun]:
    settings = plan.settings
    log = EngineLog(plan.home.engine_log)
    launcher = KeeperLauncher(plan.home.engine_record)
    starts = ledger.start_seconds(engine=plan.engine.kind, model=plan.engine.model)
    limits = Limits(
        start_s=settings.start_timeout,
        drain_s=settings.drain_timeout,
        stop_s=settings.stop_timeout,
        stall_s=settings.stall_timeout,
    )

    def new_run(report: Callable[[Event], None]) -> EngineRun:
        return EngineRun(
            engine=plan.engine,
            launcher=launcher,
            connect=HttpEngineApi,
            gpus=plan.gpus,
            clock=clock,
            book=recorder,
            limits=limits,
            log_line=log.write,
            earlier_starts_s=starts,
            lifecycle=lambda: supervisor.lifecycle,
            report=report,
        )

    return new_run


def _new_id(prefix: str) -> str:
    """Return an id that is greater than all before it, as long as the clock is not set back."""
    return f"{prefix}{time.time_ns():016x}{secrets.token_hex(4)}"


def _cache(plan: Plan, supervisor: Supervisor, recorder: Recorder, clock: Clock) -> AnswerCache | None:
    if plan.store is None:
        return None
    cache = AnswerCache(
        store=plan.store,
        rules=plan.cache.rules,
        revision=lambda: engine_revision(plan.engine, os.environ),
        book=recorder,
        model=served_name(plan.settings.engine_args) or plan.engine.model,
        clock=clock,
    )
    supervisor.listen(cache.lifecycle_changed)
    return cache


def _policy(settings: Settings) -> IdlePolicy:
    window = settings.idle_shutdown
    return IdlePolicy(
        window_s=window,
        grace_s=settings.grace if window is None else min(settings.grace, window / _LOOKS_A_WINDOW),
        unreadable_cap_s=settings.unreadable_cap,
    )


def _facts(plan: Plan) -> dict[str, Any]:
    settings = plan.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = None if settings.no_listen else f"http://{host}:{settings.port}/v1"
    return {
        "version": __version__,
        "pid": os.getpid(),
        "url": url,
        "model": plan.engine.model,
        "engine_kind": plan.engine.kind,
        "gpu": [reading.name for reading in plan.readings],
        "idle_shutdown_seconds": settings.idle_shutdown,
        "on_idle": settings.on_idle,
    }


def _billed_from_boot(settings: Settings) -> bool:
    if settings.billing_starts == "auto":
        return not settings.gpu.startswith("sim")
    return settings.billing_starts == "boot"
