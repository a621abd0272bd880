"""Failures to order: `--fail KIND` or `--fail KIND:NUMBER`, any number of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class Kind(StrEnum):
    """What can be made to go wrong."""

    # The start fails, with vLLM's words in the log and exit code 1.
    OOM = "oom"
    CUDA_OOM = "cuda-oom"
    KV = "kv"
    MODEL = "model"
    GATED = "gated"
    DRIVER = "driver"
    PORT = "port"
    # The start goes wrong without a word.
    EXIT_0 = "exit0"
    HANG_START = "hang-start"
    # Signals are not heard.
    SWALLOW_SIGTERM = "swallow-sigterm"
    IGNORE_SIGTERM = "ignore-sigterm"
    # It goes wrong while serving, or at the end.
    CRASH_AFTER = "crash-after"
    KILL_STREAM = "kill-stream"
    ZOMBIE = "zombie"
    ERROR_500 = "error500"
    SLOW_HEALTH = "slow-health"
    LEAVE_CORE = "leave-core"
    ESCAPE_CORE = "escape-core"


DEFAULT_NUMBERS: Mapping[Kind, int] = {
    Kind.KV: 4096,  # the longest model length that fits
    Kind.CRASH_AFTER: 1,  # the engine core dies in the middle of this request
    Kind.KILL_STREAM: 4,  # chunks
    Kind.SLOW_HEALTH: 10,  # seconds
}

HELP = """failures, each as --fail KIND, given any number of times:
  oom, cuda-oom, model, gated, driver, port     the start fails in vLLM's words, exit code 1
  kv[:TOKENS]          the same if the model length is over TOKENS (4096)
  exit0, hang-start    the start ends with code 0; never ends
  swallow-sigterm      the first SIGTERM during the start is lost
  ignore-sigterm       every SIGTERM is lost
  crash-after[:N]      the engine core dies in the middle of request N (1); 0: as soon as it is ready
  kill-stream[:N]      the API server dies at once, without a word, after N chunks (4) of a stream
  zombie, error500     requests never answer; answer 500
  slow-health[:S]      /health takes S seconds (10)
  leave-core           a clean stop leaves the engine core alive
  escape-core          the engine core leaves the process group"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """One ordered failure."""

    kind: Kind
    number: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the failure that `text` orders.

        Raises:
            ValueError: no such failure, or not a number after the colon.
        """
        name, colon, number = text.partition(":")
        kind = Kind(name)
        if not colon:
            return cls(kind=kind, number=DEFAULT_NUMBERS.get(kind))
        if kind not in DEFAULT_NUMBERS:
            raise ValueError(f"{name} takes no number")
        return cls(kind=kind, number=int(number))


@dataclass(frozen=True, kw_only=True, slots=True)
class Failures:
    """All ordered failures of this life of the engine."""

    ordered: Mapping[Kind, Failure] = field(default_factory=dict)

    @classmethod
    def of(cls, failures: Iterable[Failure]) -> Self:
        """Return the failures by kind; the last of a kind counts."""
        return cls(ordered={failure.kind: failure for failure in failures})

    def __contains__(self, kind: Kind) -> bool:
        return kind in self.ordered

    def number(self, kind: Kind) -> int | None:
        """Return the number that goes with `kind`, or None if it is not ordered."""
        failure = self.ordered.get(kind)
        return failure.number if failure else None

    def armed(self, once_file: Path | None) -> Self:
        """Return the failures that apply to this life: none once `once_file` exists, which this creates."""
        if once_file is None or not self.ordered:
            return self
        try:
            once_file.touch(exist_ok=False)
        except FileExistsError:
            return type(self)()
        return self
