"""What costctl knows of an engine: how to launch it, how to reach it, and what its counters say."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where an engine listens: a Unix socket, or a TCP port on the loopback address."""

    uds: str | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        if (self.uds is None) == (self.port is None):
            raise ValueError("an endpoint is either a Unix socket or a port")

    def __str__(self) -> str:
        return f"unix:{self.uds}" if self.uds else f"127.0.0.1:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LaunchPlan:
    """Everything needed to start an engine once; `environment` comes on top of the daemon's own."""

    kind: str
    model: str
    argv: tuple[str, ...]
    endpoint: Endpoint
    health_path: str = "/health"
    environment: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    api_key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitStatus:
    """How a process ended: a code, or the signal that killed it."""

    code: int | None = None
    signal: int | None = None

    def __str__(self) -> str:
        return f"killed by signal {self.signal}" if self.signal else f"exit code {self.code}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """The engine's own counters: requests it holds, tokens since its process started, how full its KV cache is."""

    running: int
    waiting: int
    prompt_tokens: int
    generation_tokens: int
    kv_cache_percent: int | None = None
    """Of the fullest, if there are several."""

    @property
    def tokens(self) -> int:
        """All tokens the engine has worked on, in and out."""
        return self.prompt_tokens + self.generation_tokens


# The names under which servers publish the same four facts (vLLM, SGLang, llama.cpp).
_FIELD_OF = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:generation_tokens_total": "generation_tokens",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:prompt_tokens_total": "prompt_tokens",
    "sglang:generation_tokens_total": "generation_tokens",
    "llamacpp:requests_processing": "running",
    "llamacpp:requests_deferred": "waiting",
    "llamacpp:prompt_tokens_total": "prompt_tokens",
    "llamacpp:tokens_predicted_total": "generation_tokens",
}
_KV_CACHE_SHARES = frozenset(("vllm:kv_cache_usage_perc", "sglang:token_usage", "llamacpp:kv_cache_usage_ratio"))


def read_counters(exposition: str) -> Counters | None:
    """Return the counters in a Prometheus text, summed over engines and models; None if it has none of them."""
    totals = {"running": 0.0, "waiting": 0.0, "prompt_tokens": 0.0, "generation_tokens": 0.0}
    shares = []
    seen = False
    for line in exposition.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name not in _FIELD_OF and name not in _KV_CACHE_SHARES:
            continue
        try:
            value = float(line.rpartition(" ")[2])
        except ValueError:
            continue
        if name in _KV_CACHE_SHARES:
            shares.append(value)
            continue
        totals[_FIELD_OF[name]] += value
        seen = True
    if not seen or any(total != total or total in (float("inf"), float("-inf")) for total in totals.values()):  # noqa: PLR0124 - NaN
        return None
    fullest = round(100 * max(shares)) if shares and all(0 <= share <= 1 for share in shares) else None
    return Counters(**{name: int(total) for name, total in totals.items()}, kv_cache_percent=fullest)
