"""What is known of language models: their shape, from which their size in memory and their work per token follow."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

from costctl.domain.model_names import ModelName, read_model_name
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BYTES_OF_16_BITS = 2
_GAP = re.compile(r"[-_:/\s.]+")
_OTHER_FORMATS = frozenset({"gguf", "exl2", "nf4", "hqq", "mxfp4", "nvfp4"})
"""Of these the bytes per weight are not known here."""


class Weights(Enum):
    """In what the weights of the linear layers are stored: bytes per weight, and the words of a name that say so."""

    BITS16 = (Fraction(2), ())
    FP8 = (Fraction(1), ("fp8",))
    INT8 = (Fraction(1), ("int8", "w8a8", "w8a16", "8bit"))
    INT4 = (Fraction(4, 8) + Fraction(2 * 8 + 4, 8 * 128), ("awq", "gptq", "int4", "w4a16", "4bit"))
    """Four bits, and for each group of 128 weights a scale of 16 bits and a zero point of four (AWQ's layout)."""

    def __init__(self, bytes_each: Fraction, words: tuple[str, ...]) -> None:
        self.bytes_each = bytes_each
        self.said_by = frozenset(words)

    @classmethod
    def of_name(cls, name: str) -> Weights:
        """Return what the name of a model says of its weights; 16 bits if it says nothing."""
        words = _words(name)
        quantised = (cls.FP8, cls.INT8, cls.INT4)  # "GPTQ-Int8" is INT8: the number says more than the method
        return next((kind for kind in quantised if not words.isdisjoint(kind.said_by)), cls.BITS16)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """A decoder of grouped-query attention and gated feed-forward layers, as its `config.json` describes it.

    `experts` is 1 for a dense model; `intermediate_size` is that of one expert.
    """

    name: str
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary: int
    is_tied: bool
    native_context: int
    experts: int = 1
    experts_per_token: int = 1
    weights: Weights = Weights.BITS16
    source: str = ""

    def __post_init__(self) -> None:
        sizes = (self.hidden_size, self.layers, self.heads, self.kv_heads, self.head_dim, self.intermediate_size)
        if min(*sizes, self.vocabulary, self.native_context, self.experts_per_token) < 1:
            raise BadValueError(f"the sizes of the model {self.name} are not all positive")
        if self.experts_per_token > self.experts:
            raise BadValueError(f"the model {self.name} uses more experts for a token than it has")

    @property
    def parameters(self) -> int:
        """All weights; norms and biases are less than 0.1 % and left out."""
        return self._embeddings + self.layers * (self._attention + self.experts * self._expert)

    @property
    def active_parameters(self) -> int:
        """The weights that take part in the work on one token."""
        return self._embeddings + self.layers * (self._attention + self.experts_per_token * self._expert)

    @property
    def weight_bytes(self) -> int:
        """The weights in memory; embeddings and output layer stay in 16 bits when the rest is quantised."""
        return self._bytes_of(self.parameters)

    @property
    def kv_bytes_per_token(self) -> int:
        """Key and value of one token in all layers, in 16 bits (vLLM's `--kv-cache-dtype auto`)."""
        return 2 * self.layers * self.kv_heads * self.head_dim * _BYTES_OF_16_BITS

    def bytes_read(self, tokens: float) -> float:
        """Return the weights that a step over `tokens` reads: of experts only those that some token is sent to."""
        if self.experts == 1:
            return self.weight_bytes
        touched = 1 - (1 - self.experts_per_token / self.experts) ** tokens
        experts = self.layers * self.experts * self._expert
        return float(self._bytes_of(self.parameters - experts) + touched * float(experts * self.weights.bytes_each))

    def _bytes_of(self, parameters: int) -> int:
        return self._embeddings * _BYTES_OF_16_BITS + round((parameters - self._embeddings) * self.weights.bytes_each)

    @property
    def _embeddings(self) -> int:
        return self.vocabulary * self.hidden_size * (1 if self.is_tied else 2)

    @property
    def _attention(self) -> int:
        return 2 * self.hidden_size * self.head_dim * (self.heads + self.kv_heads)

    @property
    def _expert(self) -> int:
        return 3 * self.hidden_size * self.intermediate_size


@dataclass(frozen=True)
class ModelBook:
    """All models that costctl has facts of."""

    models: tuple[ModelFacts, ...]

    def find(self, name: str) -> ModelFacts | None:
        """Return the model called `name`, whoever published it and however it is quantised; None if it is unknown."""
        found = None if _words(name) & _OTHER_FORMATS else self._by_name.get(read_model_name(name))
        return found and replace(found, name=name, weights=Weights.of_name(name))

    @cached_property
    def _by_name(self) -> Mapping[ModelName, ModelFacts]:
        return {read_model_name(model.name): model for model in self.models}


def same_model(one: str, other: str) -> bool:
    """Return whether two names mean the same model in the same quantisation, so that they are equally fast."""
    said = read_model_name(one)
    if not said.words:  # names that say nothing are not names of the same model
        return one == other
    return said == read_model_name(other) and Weights.of_name(one) is Weights.of_name(other)


def _words(name: str) -> frozenset[str]:
    return frozenset(_GAP.split(name.casefold()))
