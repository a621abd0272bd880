"""The kinds of engine: real vLLM, any OpenAI-compatible server by its command line, and the simulated vLLM."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from costctl.domain.engines import Endpoint, LaunchPlan
from costctl.errors import BadValueError, MissingPieceError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SOCKET_NAME = "engine.sock"
_OURS = ("--host", "--port", "--uds", "--api-key", "--ssl-keyfile", "--ssl-certfile", "--root-path")
_TURING = (7, 5)


@dataclass(frozen=True, kw_only=True)
class VllmEngine:
    """`vllm serve` on a private Unix socket (port Engine).

    A socket in a private folder needs no engine key, cannot be taken by another program, and names who listens on it.
    """

    model: str
    arguments: tuple[str, ...]
    program: tuple[str, ...]
    runtime_folder: Path
    compute_capability: tuple[int, int] | None = None
    kind: str = "vllm"

    def __post_init__(self) -> None:
        refuse_own_arguments(self.arguments)

    def plan(self) -> LaunchPlan:
        """Return how to launch it; clears what the last run left in the runtime folder."""
        uds = fresh_socket(self.runtime_folder)
        scratch = self.runtime_folder / "rpc"
        # Every run leaves its sockets behind, even after a clean stop (seen with 0.32).
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        argv = (*self.program, "serve", self.model, "--uds", str(uds), *self._defaults(), *self.arguments)
        return LaunchPlan(
            kind=self.kind,
            model=served_name(self.arguments) or self.model,
            argv=argv,
            endpoint=Endpoint(uds=str(uds)),
            environment=_vllm_environment(scratch),
            api_key=os.environ.get("VLLM_API_KEY"),
        )

    def _defaults(self) -> tuple[str, ...]:
        chosen: list[tuple[str, str | None]] = [("--disable-uvicorn-access-log", None)]
        if self.compute_capability == _TURING:
            # A T4 has no bfloat16, and FlashInfer, which 0.21 would choose there, is reported broken on it.
            chosen += [("--dtype", "half"), ("--attention-backend", "TRITON_ATTN")]
        given = {argument.partition("=")[0] for argument in self.arguments}
        return tuple(word for flag, value in chosen if flag not in given for word in (flag, value) if word)


@dataclass(frozen=True, kw_only=True)
class SimulatedEngine:
    """The simulated vLLM (port Engine)."""

    model: str
    arguments: tuple[str, ...]
    runtime_folder: Path
    claims_folder: Path
    kind: str = "sim"

    def __post_init__(self) -> None:
        refuse_own_arguments(self.arguments)

    def plan(self) -> LaunchPlan:
        """Return how to launch it."""
        uds = fresh_socket(self.runtime_folder)
        program = (sys.executable, "-m", "costctl.adapters.engines.sim")
        return LaunchPlan(
            kind=self.kind,
            model=served_name(self.arguments) or self.model,
            argv=(*program, "--model", self.model, "--uds", str(uds), *self.arguments),
            endpoint=Endpoint(uds=str(uds)),
            environment={"COSTCTL_SIM_GPU": str(self.claims_folder)},
            api_key=os.environ.get("VLLM_API_KEY"),
        )


@dataclass(frozen=True, kw_only=True)
class CommandEngine:
    """Any OpenAI-compatible server, by its command line with `{port}` or `{uds}` (port Engine)."""

    model: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    health_path: str
    runtime_folder: Path
    kind: str = "command"

    def __post_init__(self) -> None:
        text = " ".join((*self.command, *self.arguments))
        if ("{port}" in text) == ("{uds}" in text):
            raise BadValueError("engine-command needs either {port} or {uds} where the server is told to listen")

    def plan(self) -> LaunchPlan:
        """Return how to launch it, on a loopback port that is free now or on a fresh socket."""
        words = (*self.command, *self.arguments)
        if any("{uds}" in word for word in words):
            endpoint = Endpoint(uds=str(fresh_socket(self.runtime_folder)))
        else:
            endpoint = Endpoint(port=free_port())
        values = {"{port}": str(endpoint.port), "{uds}": str(endpoint.uds), "{model}": self.model}
        return LaunchPlan(
            kind=self.kind,
            model=served_name(self.arguments) or self.model,
            argv=tuple(_fill(word, values) for word in words),
            endpoint=endpoint,
            health_path=self.health_path,
        )


def find_vllm(named: str | None) -> tuple[str, ...]:
    """Return the command that runs vLLM.

    Raises:
        MissingPieceError: it is not installed here.
    """
    beside = Path(sys.executable).with_name("vllm")
    if named:
        found = shutil.which(named)
        if found is None:
            raise MissingPieceError(f"{named} is not a program that can be run (setting vllm)")
        return (found,)
    if beside.is_file():
        return (str(beside),)
    if find_spec("vllm") is not None:
        return (sys.executable, "-m", "vllm.entrypoints.cli.main")
    if on_path := shutil.which("vllm"):
        return (on_path,)
    raise MissingPieceError(
        "vLLM is not installed here: pip install 'costctl[vllm]', or name it with --vllm PATH; "
        "to try costctl without it: --engine sim --gpu sim"
    )


def refuse_own_arguments(arguments: Sequence[str]) -> None:
    """Refuse engine arguments that are costctl's business.

    Raises:
        BadValueError: one of them was given.
    """
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag == "--api-key":
            raise BadValueError("--api-key would be readable by everybody in the process list: use --api-key-file")
        if flag in _OURS:
            raise BadValueError(
                f"engine argument {flag}: costctl decides where the engine listens; use --host and --port"
            )


def served_name(arguments: Sequence[str]) -> str | None:
    """Return the first name given with --served-model-name, None without it."""
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--served-model-name":
            return value if equals else next(iter(arguments[index + 1 : index + 2]), None)
    return None


def fresh_socket(folder: Path) -> Path:
    """Return the path of the engine's socket, with no stale one there: a server fails to bind over one."""
    path = folder / _SOCKET_NAME
    path.unlink(missing_ok=True)
    return path


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _vllm_environment(scratch: Path) -> dict[str, str]:
    return {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_RPC_BASE_PATH": str(scratch),
        # vLLM closes idle connections after 5 s by default; the front door keeps its own open for less than this.
        "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "75",
    }


def _fill(word: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        word = word.replace(placeholder, value)
    return word
