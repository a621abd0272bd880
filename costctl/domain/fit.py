"""Whether a model fits into a GPU's memory, with how much context, and what vLLM has to be told there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from costctl.domain.models import Weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.domain.gpu_models import GpuModel
    from costctl.domain.models import ModelFacts

GIB = 2**30
MEMORY_SHARE = 0.9
"""Of the card's memory that vLLM may take (`--gpu-memory-utilization`); its own default is 0.92 since 0.21."""
_OVERHEAD_GIB = 2.0
"""CUDA context, peak of the activations and CUDA graphs, with vLLM's 2,048 tokens a step: up to 0.5 + 1 + 0.5."""
_LARGE_GPU_GIB = 70
_LARGE_OVERHEAD_GIB = 3.0
"""From 70 GiB vLLM takes 8,192 tokens a step: 2.8 GiB measured (0.21, Qwen3-1.7B on an H100)."""
_LEAST_CONTEXT = 2048
"""With less, a chat model is of no use."""
_BLOCK = 16
"""vLLM hands out KV memory in blocks of so many tokens."""
_TURING = (7, 5)
_FIRST_WITH_FP8 = (8, 9)


class Verdict(StrEnum):
    """How a model fits."""

    FITS = "fits"
    SHORTER = "shorter"
    """Only with less context than asked for."""
    TOO_LARGE = "too large"


class Caveat(StrEnum):
    """What is different on a GPU, for people to know."""

    NO_BF16 = "no bf16"
    NO_FP8_KV = "no fp8 kv"
    WEIGHTS_ONLY = "weights only"
    """Quantised to 8-bit floats, but computed in 16 bits: saves memory, not arithmetic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """A model in the memory of one GPU; sizes in bytes."""

    available_bytes: int
    weights_bytes: int
    overhead_bytes: int
    kv_bytes_per_token: int
    context: int
    """Tokens that one request may have."""

    @property
    def kv_bytes(self) -> int:
        """The KV cache of one request of the whole context."""
        return self.kv_bytes_per_token * self.context

    @property
    def kv_tokens(self) -> int:
        """How many tokens the KV cache holds, of all requests together."""
        left = self.available_bytes - self.weights_bytes - self.overhead_bytes
        return max(left, 0) // self.kv_bytes_per_token // _BLOCK * _BLOCK

    @property
    def verdict(self) -> Verdict:
        """Whether it fits."""
        if self.kv_tokens >= self.context:
            return Verdict.FITS
        return Verdict.SHORTER if self.kv_tokens >= _LEAST_CONTEXT else Verdict.TOO_LARGE

    @property
    def longest_context(self) -> int:
        """The greatest `--max-model-len` that fits, up to the one asked for."""
        return min(self.kv_tokens, self.context)

    def sequences(self, tokens: float | None = None) -> int:
        """Return how many requests of `tokens` (the whole context, if None) the KV cache holds at once."""
        return int(self.kv_tokens // max(tokens or self.context, 1))


def fit(model: ModelFacts, gpu: GpuModel, context: int | None = None) -> Fit:
    """Return how `model` fits into one `gpu` with requests of up to `context` tokens, the model's own if None."""
    overhead = _LARGE_OVERHEAD_GIB if gpu.usable_gib >= _LARGE_GPU_GIB else _OVERHEAD_GIB
    return Fit(
        available_bytes=int(float(gpu.usable_gib) * MEMORY_SHARE * GIB),
        weights_bytes=model.weight_bytes,
        overhead_bytes=int(overhead * GIB),
        kv_bytes_per_token=model.kv_bytes_per_token,
        context=context or model.native_context,
    )


def needed_flags(gpu: GpuModel, found: Fit | None = None) -> tuple[str, ...]:
    """Return what vLLM has to be told on `gpu`; costctl gives a T4's flags by itself."""
    flags = []
    if not gpu.bf16:
        flags.append("--dtype half")
    if gpu.compute_capability == _TURING:
        # FlashAttention needs 8.0, and FlashInfer, which vLLM 0.21 would choose, is reported broken on 7.5.
        flags.append("--attention-backend TRITON_ATTN")
    if found and found.verdict is Verdict.SHORTER:
        flags.append(f"--max-model-len {found.longest_context}")
    return tuple(flags)


def caveats(gpu: GpuModel, model: ModelFacts | None) -> Iterator[Caveat]:
    """Yield what a user of `gpu` should know."""
    if not gpu.bf16:
        yield Caveat.NO_BF16
    if gpu.compute_capability == _TURING:
        yield Caveat.NO_FP8_KV  # vLLM issue 47549
    if model and model.weights is Weights.FP8 and gpu.compute_capability < _FIRST_WITH_FP8:
        yield Caveat.WEIGHTS_ONLY
