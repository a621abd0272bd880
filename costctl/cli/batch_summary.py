"""What came of a batch, in the end."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from costctl.batch.conduct import How
from costctl.domain.durations import format_duration
from costctl.domain.money import format_amount

if TYPE_CHECKING:
    from costctl.batch.conduct import End
    from costctl.batch.forgiveness import MaxFailures
    from costctl.batch.journal import Journal
    from costctl.wiring.batch import Outcome

SCHEMA = "costctl.batch/1"
_SOME_FAILED, _FAILED = 4, 1
_EXIT_CODES = {How.INTERRUPTED: 130, How.NO_ENGINE: 3}
_MILLION = 10**6


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The whole batch (`lines`, `done`, `failed`), and the run that has just ended; None if nothing was left to do."""

    name: str
    results: str
    errors: str | None
    lines: int
    done: int
    failed: int
    outcome: Outcome | None
    exit_code: int

    @property
    def is_complete(self) -> bool:
        """Whether every line has its result."""
        return self.done == self.lines

    def as_json(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "results": self.results if self.is_complete else None,
            "errors": self.errors if self.is_complete else None,
            "lines": self.lines,
            "done": self.done,
            "failed": self.failed,
            "exit_code": self.exit_code,
            "run": None if self.outcome is None else _run(self.outcome),
        }

    def as_text(self) -> str:
        """Return it for a person."""
        lines = [f"{self.name}: {self.done - self.failed:,} of {self.lines:,} lines succeeded, {self.failed:,} failed"]
        if self.outcome is not None:
            lines += _run_in_words(self.outcome)
        if self.is_complete:
            lines.append(f"results: {self.results}" + (f"; errors: {self.errors}" if self.errors else ""))
        else:
            lines.append(f"{_lines(self.lines - self.done)} left: the same command goes on from here")
        return "\n".join(lines)


def exit_code(end: End | None, journal: Journal, total: int, forgiving: MaxFailures) -> int:
    """Return the exit code of a batch of `total` lines; `end` is None if nothing was left to do."""
    how = How.THROUGH if end is None else end.how
    if how is How.THROUGH:
        return 0 if forgiving.forgives(journal.failed_count, total) else _SOME_FAILED
    return _EXIT_CODES.get(how, _FAILED)


def cost_per_million(micros: int, tokens: int) -> int | None:
    """Return what a million tokens cost, in micro-units; None without tokens."""
    return round(Fraction(micros * _MILLION, tokens)) if tokens else None


def _lines(number: int) -> str:
    return f"{number:,} line" if number == 1 else f"{number:,} lines"


def _run(outcome: Outcome) -> dict[str, Any]:
    tally, seconds = outcome.tally, outcome.seconds
    tokens = tally.prompt_tokens + tally.generation_tokens
    return {
        "ended": outcome.end.how.value,
        "why": outcome.end.why or None,
        "engine_log": list(outcome.end.log),
        "requests": tally.requests,
        "failed": tally.failed,
        "sent_again": tally.sent_again,
        "prompt_tokens": tally.prompt_tokens,
        "generation_tokens": tally.generation_tokens,
        "seconds": round(seconds, 3),
        "requests_per_second": round(tally.requests / seconds, 2) if seconds else None,
        "tokens_per_second": round(tokens / seconds, 2) if seconds else None,
        "costs": [
            {"amount": format_amount(micros), "per_million_tokens": _amount(micros, tokens), "currency": currency}
            for currency, micros in outcome.spent.items()
        ],
        "then": outcome.last_words or None,
    }


def _amount(micros: int, tokens: int) -> str | None:
    per_million = cost_per_million(micros, tokens)
    return None if per_million is None else format_amount(per_million)


def _run_in_words(outcome: Outcome) -> list[str]:
    tally, seconds = outcome.tally, outcome.seconds
    tokens = tally.prompt_tokens + tally.generation_tokens
    lines = [f"{outcome.end.how.value}: {outcome.end.why}"] if outcome.end.why else []
    lines += [f"  its log: {line}" for line in outcome.end.log]
    speed = tokens / seconds if seconds else 0.0
    again = f", {tally.sent_again:,} times sent again" if tally.sent_again else ""
    lines.append(
        f"this run: {_lines(tally.requests)} in {format_duration(seconds)}{again}; "
        f"{tally.prompt_tokens:,} tokens in, {tally.generation_tokens:,} out, {speed:,.0f} a second"
    )
    for currency, micros in outcome.spent.items():
        per_million = cost_per_million(micros, tokens)
        each = (
            "" if per_million is None else f", {format_amount(per_million, decimals=4)} {currency} per million tokens"
        )
        lines.append(f"cost of the machine meanwhile: {format_amount(micros, decimals=4)} {currency}{each}")
    return [*lines, outcome.last_words] if outcome.last_words else lines
