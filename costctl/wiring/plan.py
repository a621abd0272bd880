"""Decide what a daemon will do, and say it, before anything is done."""

from __future__ import annotations

import ipaddress
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from costctl import __version__
from costctl.adapters.engines.kinds import CommandEngine, SimulatedEngine, VllmEngine, find_vllm
from costctl.adapters.gpus.nvml import NvmlGpus
from costctl.adapters.gpus.simulated import NoGpus, SimulatedGpus
from costctl.adapters.instances.actions import EndDaemon, PowerOff, RunCommand, run_program
from costctl.daemon.frontdoor.keys import ApiKeys
from costctl.domain.durations import format_duration
from costctl.errors import BadValueError, GpuError, MissingPieceError, RefusedError
from costctl.wiring.billing import Billing, load_billing
from costctl.wiring.caching import load_cache, make_store
from costctl.wiring.prices import choose_price, this_machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from costctl.config.caching import CacheSettings
    from costctl.config.home import Home
    from costctl.config.settings import Settings
    from costctl.domain.gpus import GpuReading
    from costctl.domain.prices import Choice
    from costctl.ports import AnswerStore, Engine, Gpus, InstanceAction


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a daemon will do. `action` is None where only the engine is stopped."""

    settings: Settings
    home: Home
    gpus: Gpus
    readings: tuple[GpuReading, ...]
    engine: Engine
    action: InstanceAction | None
    keys: ApiKeys
    price: Choice
    billing: Billing
    cache: CacheSettings
    store: AnswerStore | None
    """Of cached answers; None if they are not cached."""
    remarks: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what it will do in words."""
        settings = self.settings
        gpu = ", ".join(reading.name for reading in self.readings) or "none watched"
        lines = [
            f"costctl {__version__}: {self.engine.kind} engine for {self.engine.model}, GPU: {gpu}",
            "the engine starts now" if settings.eager else "the engine starts when the first request comes",
            self._ending(),
            f"price: {_price_in_words(self.price)}",
        ]
        if not self.keys and not settings.no_listen and not _is_loopback(settings.host):
            lines.append(f"WARNING: everybody who reaches {settings.host}:{settings.port} can use this GPU (--no-auth)")
        if self.store is not None:
            ttl = format_duration(self.cache.rules.ttl_s)
            lines.append(f"answers are cached for {ttl} in {self.store.name}: see `costctl cache stats`")
        return [*lines, *self.remarks]

    def _ending(self) -> str:
        if self.settings.idle_shutdown is None:
            return "idle shutdown is off: the machine stays up, and billed, until somebody ends it"
        promise = "stop only the engine; the daemon stays, and this machine is still billed"
        if self.action is not None:
            promise = self.action.promise
        return f"after {format_duration(self.settings.idle_shutdown)} idle: {promise}"


def make_plan(settings: Settings, home: Home) -> Plan:
    """Decide on engine, GPUs, action and keys.

    Raises:
        CostctlError: something that was asked for is not there, or not allowed.
    """
    keys = ApiKeys((*settings.api_keys, *_keys_in(settings.api_key_file)))
    if not (keys or settings.no_auth or settings.no_listen or _is_loopback(settings.host)):
        raise RefusedError(
            f"--host {settings.host} lets others in, but no API key is set: "
            "give --api-key-file, or --no-auth to let everybody in"
        )
    gpus, remarks = find_gpus(settings, home)
    readings = gpus.read()
    gpus.release()
    cache = load_cache()
    return Plan(
        settings=settings,
        home=home,
        gpus=gpus,
        readings=readings,
        engine=_engine(settings, home, readings),
        action=_action(settings.on_idle),
        keys=keys,
        price=choose_price(settings, this_machine(settings, readings)),
        billing=replace(load_billing(), chosen=settings.billing_rule),
        cache=cache,
        store=make_store(cache, home) if cache.is_on else None,
        remarks=remarks,
    )


def find_gpus(settings: Settings, home: Home) -> tuple[Gpus, tuple[str, ...]]:
    """Return the GPUs to watch, and what is worth saying. Raises GpuError."""
    if settings.gpu.startswith("sim"):
        return SimulatedGpus(_claims_folder(home), settings.gpu.partition(":")[2] or "A10G"), ()
    if settings.gpu == "none":
        return NoGpus(), ()
    nvml = NvmlGpus()
    try:
        nvml.read()
    except GpuError as error:
        if settings.gpu == "nvml":
            raise GpuError(f"{error}: no NVIDIA driver answers here; --gpu none does without") from error
        return NoGpus(), (f"no GPU is watched ({error})",)
    return nvml, ()


def _engine(settings: Settings, home: Home, readings: Sequence[GpuReading]) -> Engine:
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
    if settings.engine == "auto" and not readings:
        raise MissingPieceError(
            "no GPU was found, which vLLM needs: install the NVIDIA driver; to run vLLM on the CPU say --engine vllm; "
            "to try costctl without a GPU: --engine sim --gpu sim"
        )
    return VllmEngine(
        model=settings.model,
        arguments=arguments,
        program=program,
        runtime_folder=runtime,
        compute_capability=readings[0].compute_capability if readings else None,
    )


def _action(on_idle: str) -> InstanceAction | None:
    match on_idle:
        case "unload":
            return None
        case "exit":
            return EndDaemon()
        case "poweroff":
            return PowerOff(run_program)
        case command:
            return RunCommand(tuple(shlex.split(command.removeprefix("command:"))), run_program)


def _claims_folder(home: Home) -> Path:
    folder = home.runtime_folder() / "simulated-gpu"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _keys_in(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadValueError(f"cannot read the API keys in {file}: {error}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise BadValueError(f"there is no API key in {file}")
    return keys


def _price_in_words(choice: Choice) -> str:
    if choice.price is None:
        return f"unknown, so no cost can be told ({choice.reason}); `costctl prices explain` says more"
    remarks = "".join(f"; {remark}" for remark in choice.remarks)
    return f"{choice.price} ({choice.price.source}{remarks})"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
