"""The tokens that answers say they took."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from costctl.domain.http_batches import Usage

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = {
    b"prompt_tokens": "input_tokens",
    b"input_tokens": "input_tokens",
    b"completion_tokens": "output_tokens",
    b"output_tokens": "output_tokens",
    b"cached_tokens": "cached_tokens",
    b"reasoning_tokens": "reasoning_tokens",
}
"""What chats and completions, and what responses call them."""
_COUNT = re.compile(rb'"(%b)"\s*:\s*(\d+)' % b"|".join(_NAMES))


def usage_of(answer: bytes) -> dict[str, int]:
    """Return the tokens that an answer tells of, by their names in `Usage`.

    Only its end is looked at: to read all of it as JSON would take longer than all the rest.
    """
    begin = answer.rfind(b'"usage"')
    if begin < 0:
        return {}
    return {_NAMES[name]: int(count) for name, count in _COUNT.findall(answer, begin)}


def usage_in(results: Path) -> Usage:
    """Return what all answers in a file of results took together.

    Raises:
        OSError: it cannot be read.
    """
    total: Counter[str] = Counter()
    with results.open("rb") as file:
        for line in file:
            total.update(usage_of(line))
    return Usage(**total)
