"""API keys that clients must show."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ApiKeys:
    """A set of keys, kept as digests; without any, everybody may in."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def admit(self, headers: Mapping[str, str]) -> bool:
        """Return whether a request shows one of the keys, in time that tells nothing about them."""
        if not self._digests:
            return True
        shown = headers.get("Authorization", "")
        key = shown[7:] if shown[:7].lower() == "bearer " else headers.get("X-Api-Key", "")
        digest = _digest(key)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)


def _digest(key: str) -> bytes:
    # Bytes that are no UTF-8 come from the wire as lone surrogates.
    return hashlib.sha256(key.strip().encode(errors="surrogatepass")).digest()
