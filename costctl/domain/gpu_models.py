"""What kinds of GPU there are: their facts, and by which names they go."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from decimal import Decimal

_BRANDS = ("nvidia ", "tesla ")
_SIMULATED = " (simulated)"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuModel:
    """One kind of GPU; a figure that its makers do not give, or that it has not, is None."""

    name: str
    vram_gib: int
    usable_gib: Decimal
    """What CUDA says the card has: `vram_gib` is what it is sold with, before error correction and the driver."""
    memory_bandwidth_gb_s: Decimal
    fp16_dense_tflops: Decimal
    fp8_dense_tflops: Decimal | None
    bf16: bool
    compute_capability: tuple[int, int]
    tdp_w: int
    nvml_names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class GpuModels:
    """All kinds of GPU that costctl has facts of."""

    models: tuple[GpuModel, ...]

    def __iter__(self) -> Iterator[GpuModel]:
        return iter(self.models)

    def by_nvml_name(self, name: str) -> GpuModel | None:
        """Return the kind that the driver calls `name`, whatever brand it puts before it; None if it is not known."""
        return self._by_driver_name.get(_driver_key(name))

    def named(self, name: str) -> GpuModel:
        """Return the kind that a person calls `name`.

        Raises:
            BadValueError: there is none; the message says which there are.
        """
        found = self.by_nvml_name(name) or self._by_loose_name.get(_loose_key(name))
        if found is None:
            raise BadValueError(f"{name!r} is not a GPU that costctl knows{self._instead_of(name)}")
        return found

    @cached_property
    def _by_driver_name(self) -> Mapping[str, GpuModel]:
        return {_driver_key(name): model for model in self.models for name in (model.name, *model.nvml_names)}

    @cached_property
    def _by_loose_name(self) -> Mapping[str, GpuModel]:
        return {_loose_key(name): model for model in self.models for name in (model.name, *model.nvml_names)}

    def _instead_of(self, name: str) -> str:
        names = [model.name for model in self.models]
        near = [known for known in names if _loose_key(known).startswith(_loose_key(name))]
        near = near or difflib.get_close_matches(name.upper(), names, n=2)
        return f"; did you mean {' or '.join(near)}?" if near else f"; it knows {', '.join(names)}"


def _driver_key(name: str) -> str:
    key = " ".join(name.casefold().split()).removesuffix(_SIMULATED)
    for brand in _BRANDS:
        key = key.removeprefix(brand)
    return key


def _loose_key(name: str) -> str:
    return "".join(character for character in _driver_key(name) if character.isalnum())
