"""A workload on one kind of GPU: whether its models fit, how long it takes, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from costctl.domain.fit import Verdict, needed_flags

if TYPE_CHECKING:
    from costctl.domain.fit import Fit
    from costctl.domain.gpu_models import GpuModel
    from costctl.domain.models import ModelFacts
    from costctl.domain.speed import Basis, Speed
    from costctl.domain.workload import Load

_NOTHING = timedelta(0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One load on a GPU; fit and facts are None where the model is unknown."""

    load: Load
    model: ModelFacts | None
    fit: Fit | None
    speed: Speed

    @property
    def verdict(self) -> Verdict | None:
        """How the model fits, with as much context as its requests took; None if that is unknown."""
        if self.fit is None:
            return None
        requests_fit = not self.load.traffic.requests or self.load.traffic.mean_length <= self.fit.longest_context
        return self.fit.verdict if requests_fit else Verdict.TOO_LARGE


@dataclass(frozen=True, kw_only=True, slots=True)
class OnGpu:
    """A whole workload on a GPU: its loads one after the other, as each had a machine to itself."""

    gpu: GpuModel
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict | None:
        """How the model fits that fits worst; None if one is unknown and all others fit."""
        verdicts = [part.verdict for part in self.parts if part.load.model]
        for verdict in (Verdict.TOO_LARGE, None, Verdict.SHORTER):
            if verdict in verdicts:
                return verdict
        return Verdict.FITS if verdicts else None

    @property
    def weakest(self) -> Speed | None:
        """The speed that rests on least, of the loads that were any work."""
        return max(self._worked, key=lambda speed: speed.ground.weakness, default=None)

    @property
    def bases(self) -> frozenset[Basis]:
        """All that the speeds rest on, of the loads that were any work."""
        return frozenset(speed.ground.basis for speed in self._worked)

    @property
    def flags(self) -> tuple[str, ...]:
        """What vLLM has to be told here."""
        return tuple(dict.fromkeys(flag for part in self.parts for flag in needed_flags(self.gpu, part.fit)))

    @property
    def busy(self) -> timedelta | None:
        """How long it would be at work; None if that is unknown."""
        lengths = [part.speed.busy for part in self.parts]
        return None if None in lengths else sum((length for length in lengths if length), _NOTHING)

    @property
    def as_run(self) -> timedelta | None:
        """How long a machine would be up, as it is used; None if that is unknown."""
        carried_over = sum((part.load.carried_over for part in self.parts), _NOTHING)
        return None if self.busy is None else self.busy + carried_over

    @property
    def _worked(self) -> list[Speed]:
        return [part.speed for part in self.parts if part.load.busy != _NOTHING]
