"""Put the parts together: the only module that knows concrete adapters."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import resource
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from costctl import __version__
from costctl.config.home import Home, find_home
from costctl.domain.durations import format_duration
from costctl.errors import BadValueError, GpuError, MissingPieceError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from costctl.config.resolve import Resolved
    from costctl.config.settings import Settings
    from costctl.daemon.daemon import Daemon
    from costctl.daemon.frontdoor.keys import ApiKeys
    from costctl.domain.gpus import GpuReading
    from costctl.ledger.store import Ledger
    from costctl.ports import Engine, Gpus, InstanceAction

logger = logging.getLogger(__name__)


def load_settings(flags: Mapping[str, object], *, config: str | None = None) -> Resolved:
    """Return the settings of this process. Raises BadValueError."""
    from costctl.config.resolve import resolve

    return resolve(flags=flags, environ=os.environ, now=datetime.now(UTC), config=config)


def ledger_url() -> str:
    """Return the ledger's URL as configured. Raises BadValueError."""
    return load_settings({}).settings.ledger or find_home(os.environ).ledger_url


def read_ledger() -> Ledger:
    """Open the ledger to read it. Raises LedgerError."""
    from costctl.ledger.store import Ledger

    return Ledger.read(ledger_url())


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a daemon will do, decided before it does anything."""

    settings: Settings
    home: Home
    gpus: Gpus
    readings: tuple[GpuReading, ...]
    engine: Engine
    action: InstanceAction | None
    keys: ApiKeys
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what it will do in words."""
        settings = self.settings
        gpu = ", ".join(reading.name for reading in self.readings) or "none watched"
        lines = [
            f"costctl {__version__}: {self.engine.kind} engine for {self.engine.model}, GPU: {gpu}",
            "the engine starts now" if settings.eager else "the engine starts when the first request comes",
            self._ending(),
            f"price: {settings.price}"
            if settings.price
            else "price: unknown, so no cost can be told (--price '1.8 CNY/h')",
        ]
        if not self.keys and not _is_loopback(settings.host):
            lines.append(f"WARNING: everybody who reaches {settings.host}:{settings.port} can use this GPU (--no-auth)")
        return [*lines, *self.remarks]

    def _ending(self) -> str:
        if self.settings.idle_shutdown is None:
            return "idle shutdown is off: the machine stays up, and billed, until somebody ends it"
        window = format_duration(self.settings.idle_shutdown)
        promise = (
            self.action.promise
            if self.action
            else "stop only the engine; the daemon stays, the machine is still billed"
        )
        return f"after {window} idle: {promise}"


def make_plan(settings: Settings, home: Home) -> Plan:
    """Decide on engine, GPUs, action and keys.

    Raises:
        CostctlError: something that was asked for is not there.
    """
    keys = _keys(settings)
    if not keys and not settings.no_auth and not _is_loopback(settings.host):
        raise RefusedError(
            f"--host {settings.host} lets others in, but no API key is set: "
            "give --api-key-file, or --no-auth to let everybody in"
        )
    gpus, readings, remarks = _gpus(settings, home)
    return Plan(
        settings=settings,
        home=home,
        gpus=gpus,
        readings=readings,
        engine=_engine(settings, home, readings),
        action=_action(settings),
        keys=keys,
        remarks=tuple(remarks),
    )


def serve(plan: Plan) -> None:
    """Run the daemon until it ends.

    Raises:
        CostctlError: it cannot start.
    """
    import uvloop

    from costctl.adapters.locks import HomeLock
    from costctl.adapters.logs import start_daemon_log

    lock = HomeLock(plan.home.lock)
    lock.take()
    try:
        plan.home.logs.mkdir(exist_ok=True, mode=0o700)
        listener = start_daemon_log(plan.home.daemon_log)
        try:
            _allow_many_connections()
            daemon = build_daemon(plan)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_run(daemon))
        finally:
            listener.stop()
    finally:
        lock.release()


async def _run(make: Any) -> None:
    daemon = await make()
    await daemon.run()


def build_daemon(plan: Plan) -> Any:
    """Return a coroutine function that opens the session and assembles the daemon on the running event loop."""
    from costctl.adapters.clock import SystemClock
    from costctl.adapters.instances.identity import read_instance, read_power_on
    from costctl.adapters.processes.leftovers import end_leftovers
    from costctl.daemon.session import open_session
    from costctl.ledger.store import Ledger

    settings, home = plan.settings, plan.home
    for line in plan.lines():
        logger.info("%s", line)
    killed = end_leftovers(home.engine_record)
    if killed:
        logger.warning("killed what an earlier engine had left behind: processes %s", ", ".join(map(str, killed)))
    clock = SystemClock()
    ledger = Ledger.open(settings.ledger or home.ledger_url)
    power_on = read_power_on(clock.now())
    names = [reading.name for reading in plan.readings]
    instance = read_instance(home.identity, gpu=names[0] if names else None, gpu_count=len(names))
    opening = open_session(
        ledger,
        instance=instance,
        key=power_on.key,
        billed_since=power_on.started_at if _bills_from_boot(settings) else None,
        price=settings.price,
        clock=clock,
    )
    for remark in opening.remarks:
        logger.info("%s", remark)

    async def assemble() -> Daemon:
        return _assemble(plan, ledger, opening, clock)

    return assemble


def _assemble(plan: Plan, ledger: Ledger, opening: Any, clock: Any) -> Daemon:
    from costctl.adapters.engines.api import HttpEngineApi
    from costctl.adapters.locks import port_owner
    from costctl.adapters.logins import TerminalLogins
    from costctl.adapters.logs import EngineLog
    from costctl.adapters.processes.launcher import KeeperLauncher
    from costctl.adapters.systemd import ServiceManager
    from costctl.daemon.activity import Activity
    from costctl.daemon.control import Control
    from costctl.daemon.daemon import Daemon
    from costctl.daemon.frontdoor.door import FrontDoor
    from costctl.daemon.frontdoor.listener import Listener
    from costctl.daemon.frontdoor.own import OwnRoutes
    from costctl.daemon.idle import IdleWatch
    from costctl.daemon.recorder import Recorder
    from costctl.daemon.run import EngineRun, Limits
    from costctl.daemon.status import StatusView
    from costctl.daemon.supervisor import Supervisor
    from costctl.domain.policy import IdlePolicy
    from costctl.domain.sessions import Phase
    from costctl.ledger.writer import LedgerWriter

    settings, home, window = plan.settings, plan.home, plan.settings.idle_shutdown
    writer = LedgerWriter(ledger)
    recorder = Recorder(
        writer=writer,
        session_id=opening.session_id,
        next_run=opening.next_run,
        timeline=opening.timeline,
        clock=clock,
        phase=Phase.OFF,
    )
    engine_log = EngineLog(home.engine_log)
    launcher = KeeperLauncher(home.engine_record)
    limits = Limits(
        start_s=settings.start_timeout,
        drain_s=settings.drain_timeout,
        stop_s=settings.stop_timeout,
        stall_s=settings.stall_timeout,
    )
    starts = ledger.start_seconds(engine=plan.engine.kind, model=plan.engine.model)

    def new_run(report: Any) -> EngineRun:
        return EngineRun(
            engine=plan.engine,
            launcher=launcher,
            connect=HttpEngineApi,
            gpus=plan.gpus,
            clock=clock,
            book=recorder,
            limits=limits,
            log_line=engine_log.write,
            earlier_starts_s=starts,
            lifecycle=lambda: supervisor.lifecycle,
            report=report,
        )

    policy = IdlePolicy(
        window_s=window,
        grace_s=settings.grace if window is None else min(settings.grace, window / 5),
        unreadable_cap_s=settings.unreadable_cap,
    )
    supervisor = Supervisor(clock=clock, new_run=new_run, policy=policy, most_waiting=settings.max_waiting)
    supervisor.listen(recorder.lifecycle_changed)
    look_every_s = 5.0 if window is None else min(5.0, window / 5)
    activity = Activity(
        supervisor=supervisor,
        gpus=plan.gpus,
        logins=TerminalLogins(),
        clock=clock,
        recent_s=look_every_s * 2,
    )

    async def settle_ledger() -> None:
        await asyncio.to_thread(writer.flush, 10.0)

    own = OwnRoutes(supervisor=supervisor, model=plan.engine.model, started_at=int(clock.now().timestamp()))
    door = FrontDoor(supervisor=supervisor, keys=plan.keys, book=recorder, own=own.answer, most_body=settings.max_body)
    status = StatusView(
        supervisor=supervisor,
        activity=activity,
        recorder=recorder,
        writer=writer,
        opening=opening,
        clock=clock,
        facts=_facts(plan),
    )
    return Daemon(
        supervisor=supervisor,
        door=door,
        listener=Listener(door.handle),
        control=lambda ask: Control(path=home.control_socket, status=status, supervisor=supervisor, ask_to_end=ask),
        idle=IdleWatch(
            supervisor=supervisor,
            activity=activity,
            recorder=recorder,
            action=plan.action,
            settle_ledger=settle_ledger,
            clock=clock,
            look_every_s=look_every_s,
        ),
        recorder=recorder,
        writer=writer,
        status=status,
        manager=ServiceManager(),
        clock=clock,
        address=(settings.host, settings.port),
        explain_port=port_owner,
        eager=settings.eager,
        stop_within_s=settings.drain_timeout + settings.stop_timeout + 60,
    )


def _facts(plan: Plan) -> dict[str, Any]:
    settings = plan.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {
        "version": __version__,
        "pid": os.getpid(),
        "url": f"http://{host}:{settings.port}/v1",
        "model": plan.engine.model,
        "engine_kind": plan.engine.kind,
        "gpu": [reading.name for reading in plan.readings],
        "idle_shutdown_seconds": settings.idle_shutdown,
        "on_idle": settings.on_idle,
    }


# --- choices ---------------------------------------------------------------------------------------------------------


def _gpus(settings: Settings, home: Home) -> tuple[Gpus, tuple[GpuReading, ...], list[str]]:
    from costctl.adapters.gpus.simulated import NoGpus, SimulatedGpus

    if settings.gpu.startswith("sim"):
        claims = _claims_folder(home)
        simulated = SimulatedGpus(claims, settings.gpu.partition(":")[2] or "A10G")
        return simulated, simulated.read(), []
    if settings.gpu == "none":
        return NoGpus(), (), []
    from costctl.adapters.gpus.nvml import NvmlGpus

    nvml = NvmlGpus()
    try:
        readings = nvml.read()
    except GpuError as error:
        if settings.gpu == "nvml":
            raise GpuError(f"{error}: no NVIDIA driver answers here; use --gpu none to do without") from error
        return NoGpus(), (), [f"no GPU is watched ({error})"]
    nvml.release()
    return nvml, readings, []


def _claims_folder(home: Home) -> Path:
    folder = home.runtime_folder() / "simulated-gpu"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _engine(settings: Settings, home: Home, readings: Sequence[GpuReading]) -> Engine:
    from costctl.adapters.engines.kinds import CommandEngine, SimulatedEngine, VllmEngine, find_vllm

    runtime, arguments = home.runtime_folder(), settings.engine_args
    kind = settings.engine
    if kind == "auto":
        kind = "command" if settings.engine_command else "vllm"
    if kind == "sim":
        return SimulatedEngine(
            model=settings.model, arguments=arguments, runtime_folder=runtime, claims_folder=_claims_folder(home)
        )
    if kind == "command":
        if not settings.engine_command:
            raise BadValueError("--engine command needs --engine-command 'PROGRAM ... {port}'")
        return CommandEngine(
            model=settings.model,
            command=settings.engine_command,
            arguments=arguments,
            health_path=settings.health_path,
            runtime_folder=runtime,
        )
    program = find_vllm(settings.vllm)
    if settings.engine == "auto" and not readings and not settings.vllm:
        raise MissingPieceError(
            "no GPU was found, which vLLM needs: install the NVIDIA driver; to run vLLM for the CPU say --engine vllm; "
            "to try costctl without a GPU: --engine sim --gpu sim"
        )
    return VllmEngine(
        model=settings.model,
        arguments=arguments,
        program=program,
        runtime_folder=runtime,
        compute_capability=readings[0].compute_capability if readings else None,
    )


def _action(settings: Settings) -> InstanceAction | None:
    import shlex

    from costctl.adapters.instances.actions import EndDaemon, PowerOff, RunCommand, run_program

    match settings.on_idle:
        case "unload":
            return None
        case "exit":
            return EndDaemon()
        case "poweroff":
            return PowerOff(run_program)
        case command:
            return RunCommand(tuple(shlex.split(command.removeprefix("command:"))), run_program)


def _keys(settings: Settings) -> ApiKeys:
    from costctl.daemon.frontdoor.keys import ApiKeys

    keys = list(settings.api_keys)
    if settings.api_key_file is not None:
        try:
            text = settings.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadValueError(f"cannot read the API keys in {settings.api_key_file}: {error}") from error
        found = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if not found:
            raise BadValueError(f"there is no API key in {settings.api_key_file}")
        keys += found
    return ApiKeys(keys)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _bills_from_boot(settings: Settings) -> bool:
    if settings.billing_starts == "auto":
        return not settings.gpu.startswith("sim")
    return settings.billing_starts == "boot"


def _allow_many_connections() -> None:
    """Raise the limit of open files: thousands of waiting requests are thousands of sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, 1_048_576), hard))
