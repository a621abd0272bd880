"""How many lines may fail in a batch that still counts as a success."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from costctl.errors import BadValueError

_FORM = re.compile(r"(\d{1,12})|(\d{1,3}(?:\.\d{1,6})?)\s*%")
_ALL = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class MaxFailures:
    """At most so many lines, or this share of all."""

    lines: int = 0
    share: Fraction = Fraction(0)

    @classmethod
    def parse(cls, text: str) -> MaxFailures:
        """Return what `5` or `1%` stands for. Raises BadValueError."""
        match = _FORM.fullmatch(text.strip())
        if match is None or (match[2] and Fraction(match[2]) > _ALL):
            raise BadValueError(f"{text!r} is neither a number of lines nor a share of them, like 5 or 1%")
        return cls(lines=int(match[1])) if match[1] else cls(share=Fraction(match[2]) / _ALL)

    def forgives(self, failed: int, total: int) -> bool:
        """Return whether a batch of `total` lines with `failed` ones is a success."""
        return failed <= self.lines or failed <= self.share * total
