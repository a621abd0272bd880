"""What a run of a batch has done so far."""

from __future__ import annotations

from dataclasses import dataclass

from costctl.domain.batches import Progress


@dataclass(kw_only=True, slots=True)
class Tally:
    """Counts of one run: lines that were sent and answered in it, and their tokens."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    sent_again: int = 0
    """How often a line had to be sent once more."""

    @property
    def progress(self) -> Progress:
        """What the daemon is told."""
        return Progress(
            requests=self.requests,
            failed=self.failed,
            prompt_tokens=self.prompt_tokens,
            generation_tokens=self.generation_tokens,
        )
