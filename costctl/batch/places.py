"""Which lines are done and where their results are, in 8 bytes a line."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.batch.records import Record

_WORD_BYTES = 8
_LEAST_GROWTH = 1024


class Places:
    """Every line's place: 0 if it is not done, else twice the place after its result's first byte, odd if it failed."""

    def __init__(self) -> None:
        self._words = array("Q")
        self._counts = [0, 0]
        self._ends = [0, 0]

    def __contains__(self, line: int) -> bool:
        return line < len(self._words) and bool(self._words[line])

    def add(self, record: Record) -> None:
        """Take note of a line that is done."""
        if (missing := record.line + 1 - len(self._words)) > 0:
            growth = max(missing, len(self._words) // 8, _LEAST_GROWTH)
            self._words.frombytes(bytes(_WORD_BYTES * growth))
        self._words[record.line] = (record.offset + 1) << 1 | record.is_failed
        self._counts[record.is_failed] += 1
        self._ends[record.is_failed] = record.end

    def count(self, *, is_failed: bool) -> int:
        """Return how many lines succeeded, or failed."""
        return self._counts[is_failed]

    def end(self, *, is_failed: bool) -> int:
        """Return where the next result, or error, begins."""
        return self._ends[is_failed]

    def find(self, line: int) -> tuple[int, bool]:
        """Return where the result of a line begins, and whether it failed.

        Raises:
            KeyError: the line is not done.
        """
        if line not in self:
            raise KeyError(line)
        word = self._words[line]
        return (word >> 1) - 1, bool(word & 1)

    def of(self, *, is_failed: bool) -> Iterator[tuple[int, int]]:
        """Yield each line that succeeded, or failed, with where its result begins."""
        for line, word in enumerate(self._words):
            if word and (word & 1) == is_failed:
                yield line, (word >> 1) - 1
