"""The simulated engine's command line, understood once."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from costctl.adapters.engines.sim.failures import HELP, Failure, Failures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that one life of the engine goes by."""

    model: str
    served_model_name: str
    uds: str | None
    host: str
    port: int
    api_key: str | None = field(repr=False)
    max_model_len: int
    gpu_memory_utilization: float
    vram_bytes: int
    start_seconds: float
    first_token_seconds: float
    tokens_per_second: float
    max_concurrent: int
    sleep_seconds: float
    watchdog_seconds: float
    shutdown_timeout_seconds: float
    log_lines_per_second: float
    sleep_mode: bool
    dev_mode: bool
    force_include_usage: bool
    load_tracking: bool
    access_log: bool
    failures: Failures

    @property
    def address(self) -> str:
        """Where it listens, as vLLM's log names it."""
        return f"unix:{self.uds}" if self.uds else f"http://{self.host}:{self.port}"


class OneLineParser(argparse.ArgumentParser):
    """Refuses a bad command line in one line instead of a page of usage."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings that `arguments` and the environment ask for; exits with code 2 on a bad one."""
    given = _parser().parse_args(arguments)
    return Settings(
        model=given.model,
        served_model_name=given.served_model_name or given.model,
        uds=given.uds,
        host=given.host,
        port=given.port,
        api_key=given.api_key or environment.get("VLLM_API_KEY") or None,
        max_model_len=given.max_model_len,
        gpu_memory_utilization=given.gpu_memory_utilization,
        vram_bytes=round(given.vram_gib * GIB),
        start_seconds=given.start_seconds,
        first_token_seconds=given.first_token_seconds,
        tokens_per_second=given.tokens_per_second,
        max_concurrent=given.max_concurrent,
        sleep_seconds=given.sleep_seconds,
        watchdog_seconds=given.watchdog_seconds,
        shutdown_timeout_seconds=given.shutdown_timeout,
        log_lines_per_second=given.log_lines,
        sleep_mode=given.enable_sleep_mode,
        dev_mode=environment.get("VLLM_SERVER_DEV_MODE") == "1",
        force_include_usage=given.enable_force_include_usage,
        load_tracking=given.enable_server_load_tracking,
        access_log=not given.disable_uvicorn_access_log,
        failures=Failures.of(given.fail).armed(given.fail_once_file),
    )


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="sim-engine",
        description="A simulated vLLM server: real HTTP, no GPU, no model.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_vllm_options(parser)
    _add_knobs(parser)
    return parser


def _add_vllm_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("as in vLLM")
    group.add_argument("--model", default="Qwen/Qwen3-1.7B")
    group.add_argument("--served-model-name")
    group.add_argument("--uds", metavar="PATH")
    group.add_argument("--host", default="127.0.0.1")
    group.add_argument("--port", type=int, default=8000)
    group.add_argument("--api-key", help="or the variable VLLM_API_KEY")
    group.add_argument("--max-model-len", type=_positive, default=8192)
    group.add_argument("--gpu-memory-utilization", type=float, default=0.92)
    group.add_argument("--shutdown-timeout", type=_seconds, default=0.0, metavar="SECONDS")
    group.add_argument("--enable-sleep-mode", action="store_true")
    group.add_argument("--enable-force-include-usage", action="store_true")
    group.add_argument("--enable-server-load-tracking", action="store_true")
    group.add_argument("--disable-uvicorn-access-log", action="store_true")


def _add_knobs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of the simulation")
    group.add_argument("--start-seconds", type=_seconds, default=2.0)
    group.add_argument("--first-token-seconds", type=_seconds, default=0.02)
    group.add_argument("--tokens-per-second", type=_seconds, default=500.0, help="per request; 0: as fast as it goes")
    group.add_argument("--max-concurrent", type=_positive, default=256, help="requests at once; more have to wait")
    group.add_argument("--vram-gib", type=_seconds, default=6.0)
    group.add_argument("--sleep-seconds", type=_seconds, default=0.05, help="what going to sleep and waking take")
    group.add_argument("--watchdog-seconds", type=_seconds, default=0.5, help="from the core's death to the exit")
    group.add_argument("--log-lines", type=_seconds, default=0.0, metavar="N", help="idle log lines per second")
    group.add_argument("--fail", type=_failure, action="append", default=[], metavar="KIND")
    group.add_argument("--fail-once-file", type=Path, metavar="PATH", help="fail only while PATH does not exist")


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not zero or more")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not one or more")
    return number


def _failure(text: str) -> Failure:
    try:
        return Failure.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no such failure: {text} ({error})") from error
