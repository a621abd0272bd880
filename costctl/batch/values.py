"""What a file of requests is read into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_MOST_SHOWN = 80


class Form(StrEnum):
    """How a request was written."""

    BATCH = "batch lines"
    PROMPT = "prompts"
    MESSAGES = "messages"
    TABLE = "CSV"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One request, ready to be sent."""

    line: int
    """The line of the file where it begins, from 1; everything about a job goes by it."""
    custom_id: str
    path: str
    """Where it is posted to: a key of `BATCH_ENDPOINTS`."""
    body: bytes
    """A JSON object with all defaults in it; equal bodies of a path are the same request."""
    model: str
    form: Form
    is_sample: bool = False
    """Whether it asks for one of many possible answers: a temperature above 0, and no seed."""


class Identical(StrEnum):
    """What becomes of requests that are the same."""

    AUTO = "auto"
    """They are computed once, unless they ask for samples."""
    ONCE = "once"
    EACH = "each"

    def shares(self, job: Job) -> bool:
        """Return whether a request gets the answer of an earlier one that is the same."""
        return self is Identical.ONCE or (self is Identical.AUTO and not job.is_sample)


def shown(value: object) -> str:
    """Return a value of a line as people are told it: short, and without control characters."""
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Why a line cannot be sent."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"
