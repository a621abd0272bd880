"""Names of models: which of them mean the same model, and how many parameters a name claims.

There is no register of names, so a name is taken apart into words. Words that only say how a model is served (number
formats, chat tuning, a provider's speed tier) are dropped; whatever else differs makes another model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_VENDOR = re.compile(r"^[a-z]+\.(?=[a-z])")  # Bedrock's meta.llama3-1-8b-instruct
_BEDROCK_VERSION = "-v1:0"
_GGUF_BITS = re.compile(r"[-.]i?q\d\w*")  # q4_k_m
_POINT = re.compile(r"(?<=\d)[p:](?=\d)|(?<=\d)-(?=\d(?:-|$))")  # llama-v3p1, v0:2, llama3-1: all mean a point
_GAP = re.compile(r"[-_\s:@]+|\.(?!\d)|(?<!\d)\.")
_SERVED_HOW = re.compile(
    r"meta|instruct|it|chat|base|hf|maas|turbo|fast|instant|versatile|dynamic|static|block"
    r"|awq|gptq|gguf|exl2|bnb|nf4|hqq|autoround|marlin|quantized"
    r"|(mx|nv)?fp\d+|bf16|int\d|w\d+a\d+|[48]bit|\d+g|\d{1,3}k|4096|8192|32768"
)
_FAMILY_AND_VERSION = re.compile(r"([a-z]+)(\d+(?:\.\d+)?)")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)?)")
_RELEASE = re.compile(r"\d{1,2}(\.\d+)?")
_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)b")
_MILLIONS = re.compile(r"(\d{3})m")  # opt-125m; a context of 1m is none
_MIXTURE = re.compile(r"a\d+(\.\d+)?b|\d+x\d+(\.\d+)?b")  # 30b-a3b, 8x7b


@dataclass(frozen=True, slots=True)
class ModelName:
    """What a model's name says; equal for names of the same model."""

    words: tuple[str, ...]

    @property
    def billions(self) -> Fraction | None:
        """How many billions of parameters a dense model has; None if the name does not say, or for a mixture."""
        if any(_MIXTURE.fullmatch(word) for word in self.words):
            return None
        return next((size for word in self.words if (size := _size(word)) is not None), None)

    @property
    def is_plain(self) -> bool:
        """Whether it is a family's general model: nothing but the family's name, its release and a size."""
        rest = [word for word in self.words if _size(word) is None]
        families = [word for word in rest if word.isalpha()]
        others = [word for word in rest if not word.isalpha()]
        return len(families) == 1 and all(_RELEASE.fullmatch(word) for word in others) and self.billions is not None


def read_model_name(name: str) -> ModelName:
    """Return what `name` says: a Hugging Face name, a provider's, or a path that ends in one."""
    text = name.strip().rstrip("/").rpartition("/")[2].casefold()
    text = _GGUF_BITS.sub("", _VENDOR.sub("", text).removesuffix(_BEDROCK_VERSION))
    words = _GAP.split(_POINT.sub(".", text))
    return ModelName(tuple(part for word in words if not _SERVED_HOW.fullmatch(word) for part in _parts(word)))


def _parts(word: str) -> tuple[str, ...]:
    """Return qwen2.5 as qwen and 2.5, v0.3 as 0.3, and other words as they are."""
    if match := _VERSION.fullmatch(word):
        return (match[1],)
    if match := _FAMILY_AND_VERSION.fullmatch(word):
        return (match[1], match[2])
    return (word,) if word else ()


def _size(word: str) -> Fraction | None:
    if match := _BILLIONS.fullmatch(word):
        return Fraction(match[1])
    if match := _MILLIONS.fullmatch(word):
        return Fraction(match[1]) / 1000
    return None
