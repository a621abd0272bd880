"""Answers in a Redis or Valkey server, shared by all who are given its address."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from costctl.errors import AnswerStoreError, BadValueError, MissingPieceError
from costctl.ports import StoreContent

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "costctl:answer:"
_TIMEOUT_S = 1.0
_AT_ONCE = 500
_WORDS = {
    "AuthenticationError": "refuses the user or the password",
    "NoPermissionError": "does not allow this user what the cache needs: GET, SET, SCAN and UNLINK",
    "OutOfMemoryError": "is full: give it a maxmemory-policy such as allkeys-lru",
    "ReadOnlyError": "is a replica that cannot be written to",
    "TimeoutError": "does not answer",
    "ConnectionError": "cannot be reached",
}
_SAME_PROTOCOL = {"valkey://": "redis://", "valkeys://": "rediss://"}


class RedisStore:
    """Keeps entries under `costctl:answer:`, where they expire by themselves; how many fit the server decides."""

    def __init__(self, url: str) -> None:
        """Prepare to connect; nothing is sent yet.

        Raises:
            BadValueError: the URL is not understood; its words are not repeated, as it may hold a password.
            MissingPieceError: the library is not installed.
        """
        try:
            import redis  # noqa: PLC0415 - an extra
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError as error:
            raise MissingPieceError("the answer cache's Redis needs a library: pip install 'costctl[redis]'") from error
        for theirs, common in _SAME_PROTOCOL.items():
            if url.startswith(theirs):
                url = common + url.removeprefix(theirs)
        try:
            self._redis: Any = redis.Redis.from_url(
                url,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                # A connection that the server has closed meanwhile is no failure; a server that hangs is one.
                retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            )
        except (ValueError, TypeError):
            raise BadValueError("the URL of the answer cache's Redis is not understood") from None
        self._errors = (redis.RedisError, OSError, ValueError)  # the last by names that can be no host
        self.name = _name(self._redis.connection_pool.connection_kwargs)

    def get(self, key: str) -> bytes | None:
        """Return the entry of `key`, None if there is none (any more). Raises AnswerStoreError."""
        with self._translated():
            entry = self._redis.get(_PREFIX + key)
        return entry if isinstance(entry, bytes) else None

    def put(self, key: str, entry: bytes, ttl_s: float) -> None:
        """Keep an entry for `ttl_s` seconds. Raises AnswerStoreError."""
        with self._translated():
            self._redis.set(_PREFIX + key, entry, px=max(1, round(ttl_s * 1000)))

    def content(self) -> StoreContent:
        """Count what is there, one by one: a server has other keys too. Raises AnswerStoreError."""
        with self._translated():
            return StoreContent(entries=sum(1 for _ in self._keys()))

    def clear(self) -> int:
        """Drop all entries of costctl, and nothing else. Raises AnswerStoreError."""
        with self._translated():
            keys, dropped = self._keys(), 0
            while some := tuple(islice(keys, _AT_ONCE)):
                dropped += self._redis.unlink(*some)
            return dropped

    def close(self) -> None:
        """Close all connections."""
        self._redis.close()

    def _keys(self) -> Iterator[bytes]:
        yield from self._redis.scan_iter(match=f"{_PREFIX}*", count=_AT_ONCE)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise AnswerStoreError(f"{self.name} {_in_words(error)}") from None


def _in_words(error: Exception) -> str:
    """Return what is wrong by the kind of error alone: what a library or a server says may repeat what it was given."""
    kinds = (kind.__name__ for kind in type(error).__mro__)
    return next((_WORDS[kind] for kind in kinds if kind in _WORDS), f"has trouble: {type(error).__name__}")


def _name(known: dict[str, Any]) -> str:
    where = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
    return f"redis at {where}, database {known.get('db', 0)}"
