"""Batches that were ordered over HTTP, as OpenAI's API has them: their states, and what may follow which."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from costctl.domain.stored_files import KEPT_S

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(StrEnum):
    """OpenAI's words."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


_NEXT = {
    Status.VALIDATING: {Status.IN_PROGRESS, Status.FAILED, Status.EXPIRED, Status.CANCELLING},
    Status.IN_PROGRESS: {Status.FINALIZING, Status.FAILED, Status.EXPIRED, Status.CANCELLING},
    Status.FINALIZING: {Status.COMPLETED},
    Status.CANCELLING: {Status.CANCELLED},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many lines there are, and how many of them succeeded and failed so far."""

    total: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """The tokens that the answers of a batch tell of."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    def as_openai(self) -> dict[str, Any]:
        """Return OpenAI's usage object."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a batch failed; `line` of its input, if it is one's fault."""

    code: str
    message: str
    line: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How work on a batch ended: its last state, and why if that is not completion."""

    status: Status
    faults: tuple[Fault, ...] = ()


_CANCELLED = Fault(code="batch_cancelled", message="the batch was cancelled before this request was computed")
_EXPIRED = Fault(code="batch_expired", message="the completion window ended before this request was computed")


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpBatch:
    """One batch; instants in seconds since 1970.

    `default_model` is what lines are for that name no model; `model` is the one that all lines are for.
    `results_id` and `failures_id` are what its files will be called, fixed at the beginning, so that giving them their
    names a second time, after a crash, changes nothing.
    """

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: int
    expires_at: int
    results_id: str
    failures_id: str
    default_model: str
    model: str | None = None
    usage: Usage | None = None
    metadata: Mapping[str, str] | None = None
    outputs_kept_s: int = KEPT_S
    status: Status = Status.VALIDATING
    reached: Mapping[str, int] = field(default_factory=dict)
    """When each state was reached."""
    counts: Counts = field(default_factory=Counts)
    faults: tuple[Fault, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing follows any more."""
        return self.status not in _NEXT

    @property
    def ended_at(self) -> int:
        """When the present state was reached."""
        return self.reached.get(self.status, self.created_at)

    def needs_engine(self, now: int) -> bool:
        """Return whether its lines are still to be computed."""
        return self.status in {Status.VALIDATING, Status.IN_PROGRESS} and now < self.expires_at

    def fault_of_rest(self, end: End) -> Fault | None:
        """Return what lines that are not done failed of, if the batch ends so; None if there are no such lines."""
        match end.status:
            case Status.CANCELLED:
                return _CANCELLED
            case Status.EXPIRED:
                return _EXPIRED
            case Status.FAILED if Status.IN_PROGRESS in self.reached and end.faults:
                return end.faults[0]
            case _:
                return None

    def moved(self, status: Status, at: int) -> Self:
        """Return the batch in another state. Raises ValueError if that cannot follow."""
        if status not in _NEXT.get(self.status, ()):
            raise ValueError(f"{self.id} is {self.status}: {status} cannot follow")
        return replace(self, status=status, reached={**self.reached, status.value: at})

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return what was kept. Raises KeyError, TypeError, ValueError."""
        read = {
            "status": Status(kept["status"]),
            "counts": Counts(**kept["counts"]),
            "usage": Usage(**kept["usage"]) if kept["usage"] else None,
            "faults": tuple(Fault(**fault) for fault in kept["faults"]),
        }
        return cls(**{**kept, **read})

    def as_openai(self) -> dict[str, Any]:
        """Return OpenAI's batch object."""
        instants = {f"{status}_at": self.reached.get(status) for status in Status if status is not Status.VALIDATING}
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "model": self.model,
            "input_file_id": self.input_file_id,
            "completion_window": self.completion_window,
            "status": self.status.value,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            **instants,
            "request_counts": asdict(self.counts),
            "usage": self.usage.as_openai() if self.usage else None,
            "errors": {"object": "list", "data": [_fault(fault) for fault in self.faults]} if self.faults else None,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "metadata": self.metadata,
        }


def way_to(end: Status, status: Status) -> tuple[Status, ...]:
    """Return the states between `status` and the `end`."""
    before = {Status.COMPLETED: Status.FINALIZING, Status.CANCELLED: Status.CANCELLING}.get(end, status)
    return () if before is status else (before,)


def _fault(fault: Fault) -> dict[str, Any]:
    return {**asdict(fault), "param": None}
