"""How long a GPU works on tokens, estimated from what its data sheet promises.

Reading a prompt is bound by arithmetic: two operations per active weight and token. Writing is done in steps, one token
for each of the requests at work, and a step is bound by memory, which has to deliver all weights and every request's KV
cache, or by arithmetic where many requests share it (Williams et al., "Roofline", 2009). The efficiencies are rough;
but the comparison needs only the ratio of two such times, in which what is wrong with both cancels out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.domain.models import Weights

if TYPE_CHECKING:
    from datetime import timedelta

    from costctl.domain.gpu_models import GpuModel
    from costctl.domain.models import ModelFacts

BANDWIDTH_EFFICIENCY = 0.85
"""With `STEP_OVERHEAD_S` fits single streams published for 16-bit models of 7 and 8 billion to within 10 %: 42 tokens/s
on an RTX A6000, 75 on an A100-40GB, 122 on an H100."""
STEP_OVERHEAD_S = 0.002
"""Scheduling, launches and sampling: the CPU's part of a step, which a faster GPU does not shorten."""
COMPUTE_EFFICIENCY = 0.5
"""An assumption: kernels reach about two thirds, and cards of 70 W (T4, L4) cannot hold their clock under it."""
MOST_CONCURRENT = 256
"""vLLM's default `--max-num-seqs` on GPUs of less than 70 GiB."""
_HALVINGS = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What was asked of a model."""

    requests: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0

    def __post_init__(self) -> None:
        if min(self.requests, self.prompt_tokens, self.generation_tokens) < 0:
            raise ValueError("traffic is not negative")

    @property
    def tokens(self) -> int:
        """Read and written."""
        return self.prompt_tokens + self.generation_tokens

    @property
    def mean_length(self) -> float:
        """Tokens of a request at its end."""
        return self.tokens / max(self.requests, 1)

    @property
    def mean_cached(self) -> float:
        """Tokens in a request's KV cache, on the average of its writing."""
        return (self.prompt_tokens + self.generation_tokens / 2) / max(self.requests, 1)

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            generation_tokens=self.generation_tokens + other.generation_tokens,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Roofline:
    """A model on `gpu_count` GPUs of a kind, taken to share the work evenly and without loss."""

    model: ModelFacts
    gpu: GpuModel
    gpu_count: int = 1

    def busy_seconds(self, traffic: Traffic, concurrency: float) -> float:
        """Return how long `traffic` takes if so many requests are always at work."""
        reading = traffic.prompt_tokens * self._arithmetic_seconds(1)
        cached = min(traffic.mean_cached, self.model.native_context)
        return reading + traffic.generation_tokens / concurrency * self.step_seconds(cached, concurrency)

    def step_seconds(self, cached: float, concurrency: float) -> float:
        """Return the time in which each of `concurrency` requests with `cached` tokens gets one more."""
        read = self.model.bytes_read(concurrency) + concurrency * cached * self.model.kv_bytes_per_token
        bandwidth = float(self.gpu.memory_bandwidth_gb_s) * 1e9 * self.gpu_count * BANDWIDTH_EFFICIENCY
        return max(read / bandwidth, self._arithmetic_seconds(concurrency)) + STEP_OVERHEAD_S

    def concurrency_behind(self, traffic: Traffic, busy: timedelta, most: float = MOST_CONCURRENT) -> float:
        """Return how many requests must have been at work, from 1 to `most`, for `traffic` to take `busy`.

        More at once are never slower, so it is found by halving.
        """
        low, high = 1.0, max(1.0, most)
        if self.busy_seconds(traffic, low) <= busy.total_seconds():
            return low
        if self.busy_seconds(traffic, high) >= busy.total_seconds():
            return high
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if self.busy_seconds(traffic, middle) > busy.total_seconds():
                low = middle
            else:
                high = middle
        return high

    def _arithmetic_seconds(self, tokens: float) -> float:
        return 2 * self.model.active_parameters * tokens / (self._flops * COMPUTE_EFFICIENCY)

    @property
    def _flops(self) -> float:
        in_fp8 = self.gpu.fp8_dense_tflops if self.model.weights is Weights.FP8 else None
        return float(in_fp8 or self.gpu.fp16_dense_tflops) * 1e12 * self.gpu_count
