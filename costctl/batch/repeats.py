"""Which of very many texts are the same, in 28 bytes for each that is repeated."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DIGEST_BYTES = 16


class Repeats:
    """Finds each text's first line among the texts whose hashes are not unique.

    Args:
        hashes: `hash()` of every text (64 bits, keyed anew in each process). The texts are then shown once more, in
            their order, to tell true repeats from accidents.
    """

    def __init__(self, hashes: Iterable[int]) -> None:
        ordered = sorted(hashes)
        self._hashes = array("q")
        for before, after in pairwise(ordered):
            if before == after and (not self._hashes or self._hashes[-1] != after):
                self._hashes.append(after)
        self._first_lines = array("I", bytes(4 * len(self._hashes)))
        self._digests = bytearray(_DIGEST_BYTES * len(self._hashes))

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def first_line(self, line: int, text: str | bytes) -> int:
        """Return the line where this text stood first, `line` itself if it was not seen before."""
        key = hash(text)
        at = bisect_left(self._hashes, key)
        if at == len(self._hashes) or self._hashes[at] != key:
            return line
        digest = hashlib.blake2b(
            text if isinstance(text, bytes) else text.encode(errors="surrogatepass"), digest_size=_DIGEST_BYTES
        ).digest()
        place = slice(_DIGEST_BYTES * at, _DIGEST_BYTES * (at + 1))
        if not self._first_lines[at]:
            self._first_lines[at] = line
            self._digests[place] = digest
        return self._first_lines[at] if self._digests[place] == digest else line
