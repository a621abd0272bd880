"""The start: vLLM's phases, with its log lines and its failures, spread over the time that was asked for."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from costctl.adapters.engines.sim.core_process import CoreGoneError, CoreProcess
from costctl.adapters.engines.sim.failures import Kind
from costctl.adapters.engines.sim.last_words import (
    GIB,
    KV_BYTES_PER_TOKEN,
    error_of,
    say_api_server_failed,
    say_core_failed,
    say_core_gone,
)

if TYPE_CHECKING:
    from costctl.adapters.engines.sim.log import EngineLog
    from costctl.adapters.engines.sim.settings import Settings

VERSION = "0.32.0"
# When each phase is over, as a share of the whole start: about what a cold start on a GPU looks like.
IMPORTED, CORE_IMPORTED, WEIGHTS_LOADED, TRACED, COMPILED, PROFILED, CAPTURED = 0.15, 0.3, 0.5, 0.6, 0.75, 0.85, 0.95
# What the engine core holds by then, as a share of all.
WEIGHTS_SHARE, PROFILED_SHARE = 0.4, 0.6


class StartFailedError(Exception):
    """The start is over; the log says why, and `exit_code` is what the process ends with."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@dataclass(kw_only=True, slots=True)
class Pace:
    """Spreads the start over its seconds; a slow machine does not stretch them."""

    total_seconds: float
    began_at: float = field(default_factory=time.monotonic)

    def seconds(self, begin: float, end: float) -> float:
        """Return how long the start takes from share to share."""
        return (end - begin) * self.total_seconds

    async def until(self, share: float) -> None:
        """Wait until `share` of the start is over."""
        await asyncio.sleep(max(0.0, self.began_at + share * self.total_seconds - time.monotonic()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Startup:
    """One start of the engine."""

    settings: Settings
    log: EngineLog
    pace: Pace

    async def run(self) -> CoreProcess:
        """Go through the phases and return the engine core, which holds its VRAM.

        Raises:
            StartFailedError: it was ordered to fail, or the engine core was killed.
        """
        await self._import()
        async with AsyncExitStack() as undo:
            core = await CoreProcess.spawn(own_session=Kind.ESCAPE_CORE in self.settings.failures)
            undo.push_async_callback(core.end)
            self.log.name_core(core.pid)
            try:
                await self._initialise(core)
            except CoreGoneError:
                say_core_gone(self.log, core.exit_code or 0)
                raise StartFailedError(1) from None
            undo.pop_all()
            return core

    async def _initialise(self, core: CoreProcess) -> None:
        await self._import_in_core()
        await self._load_weights(core)
        await self._compile()
        await self._profile(core)
        await self._capture_graphs(core)
        await self.pace.until(1.0)

    async def _import(self) -> None:
        settings, log = self.settings, self.log
        await self.pace.until(IMPORTED)
        log.api("api_utils.py:347", f"vLLM, simulated by costctl: version {VERSION}, model {settings.model}")
        log.api("api_utils.py:286", f"non-default args: {{'model': '{settings.model}', 'uds': {settings.uds!r}}}")
        for kind in (Kind.PORT, Kind.MODEL, Kind.GATED):
            if kind in settings.failures:
                say_api_server_failed(log, error_of(kind, settings))
                raise StartFailedError(1)
        log.api("model.py:733", "Resolved architecture: Qwen3ForCausalLM")
        log.api("model.py:2152", f"Using max model len {settings.max_model_len}")

    async def _import_in_core(self) -> None:
        await self.pace.until(CORE_IMPORTED)
        config = f"model='{self.settings.model}', tokenizer='{self.settings.model}', dtype=torch.bfloat16"
        self.log.core("core.py:133", f"Initializing a V1 LLM engine (v{VERSION}) with config: {config}")
        self._fail_in_core(Kind.DRIVER)
        self._fail_in_core(Kind.OOM)

    async def _load_weights(self, core: CoreProcess) -> None:
        settings, log = self.settings, self.log
        log.core("gpu_model_runner.py:5039", f"Starting to load model {settings.model}...")
        log.raw("Loading safetensors checkpoint shards:   0% Completed | 0/1 [00:00<?, ?it/s]")
        if Kind.HANG_START in settings.failures:
            await asyncio.Event().wait()
        if Kind.EXIT_0 in settings.failures:
            raise StartFailedError(0)
        await core.claim(round(settings.vram_bytes * WEIGHTS_SHARE / 2))
        self._fail_in_core(Kind.CUDA_OOM)
        await self.pace.until(WEIGHTS_LOADED)
        took = self.pace.seconds(CORE_IMPORTED, WEIGHTS_LOADED)
        await core.claim(round(settings.vram_bytes * WEIGHTS_SHARE))
        log.raw("Loading safetensors checkpoint shards: 100% Completed | 1/1 [00:00<00:00,  1.00it/s]\n")
        log.core("default_loader.py:501", f"Loading weights took {took:.2f} seconds")
        size = settings.vram_bytes * WEIGHTS_SHARE / GIB
        log.core("gpu_model_runner.py:5149", f"Model loading took {size:.2f} GiB memory and {took:.6f} seconds")

    async def _compile(self) -> None:
        log, pace = self.log, self.pace
        log.core("monitor.py:40", "[backbone] Starting torch.compile")
        await pace.until(TRACED)
        tracing, compiling = pace.seconds(WEIGHTS_LOADED, TRACED), pace.seconds(TRACED, COMPILED)
        log.core("backends.py:1166", f"[backbone] Dynamo bytecode transform time: {tracing:.2f} s")
        await pace.until(COMPILED)
        log.core("backends.py:398", f"[backbone] Compiling a graph for compile range (1, 2048) takes {compiling:.2f} s")
        log.core("monitor.py:62", f"[backbone] torch.compile took {tracing + compiling:.2f} s in total")

    async def _profile(self, core: CoreProcess) -> None:
        settings, log = self.settings, self.log
        await self.pace.until(PROFILED)
        await core.claim(round(settings.vram_bytes * PROFILED_SHARE))
        took = self.pace.seconds(COMPILED, PROFILED)
        log.core("monitor.py:91", f"[backbone] Initial profiling/warmup run took {took:.2f} s")
        if settings.max_model_len > (settings.failures.number(Kind.KV) or settings.max_model_len):
            self._fail_in_core(Kind.KV)
        available = settings.vram_bytes * (1 - PROFILED_SHARE)
        tokens = max(settings.max_model_len, int(available / KV_BYTES_PER_TOKEN))
        log.core("gpu_worker.py:759", f"Available KV cache memory: {available / GIB:.2f} GiB")
        concurrency = f"{settings.max_model_len:,} tokens per request: {tokens / settings.max_model_len:.2f}x"
        log.core(
            "kv_cache_utils.py:2327", f"GPU KV cache size: {tokens:,} tokens, Maximum concurrency for {concurrency}"
        )

    async def _capture_graphs(self, core: CoreProcess) -> None:
        log, pace = self.log, self.pace
        log.raw("Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):   0%|          | 0/35 [00:00<?, ?it/s]")
        await pace.until(CAPTURED)
        await core.claim(self.settings.vram_bytes)
        took = pace.seconds(PROFILED, CAPTURED)
        log.core("gpu_model_runner.py:6581", f"Graph capturing finished in {took:.0f} secs, took 0.40 GiB")
        whole, compiling = pace.seconds(WEIGHTS_LOADED, CAPTURED), pace.seconds(WEIGHTS_LOADED, COMPILED)
        parts = f"took {whole:.2f} s (compilation: {compiling:.2f} s)"
        log.core("core.py:395", f"init engine (profile, create kv cache, warmup model) {parts}")

    def _fail_in_core(self, kind: Kind) -> None:
        if kind in self.settings.failures:
            say_core_failed(self.log, error_of(kind, self.settings))
            raise StartFailedError(1)


def announce(settings: Settings, log: EngineLog, routes: list[tuple[str, str]]) -> None:
    """Log what vLLM logs when its HTTP server comes up."""
    log.api("entry.py:136", "Supported tasks: ['generate']")
    log.api("entry.py:140", f"Starting vLLM server on {settings.address}")
    log.api("launcher.py:186", "Available routes are:")
    for path, method in routes:
        log.api("launcher.py:195", f"Route: {path}, Methods: {method}")
    log.raw(f"INFO:     Started server process [{os.getpid()}]")
    log.raw("INFO:     Waiting for application startup.")
    log.raw("INFO:     Application startup complete.")
