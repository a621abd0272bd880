"""The cache of answers, as configured: for the daemon, and for commands while no daemon runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from costctl.config.caching import DISK, read_cache
from costctl.wiring import load_settings

if TYPE_CHECKING:
    from costctl.config.caching import CacheSettings
    from costctl.config.home import Home
    from costctl.ports import AnswerStore


def load_cache() -> CacheSettings:
    """Return how answers are cached. Raises BadValueError."""
    return read_cache(load_settings({}).file, os.environ)


def make_store(settings: CacheSettings, home: Home) -> AnswerStore:
    """Return the store, which is opened at its first use. Raises BadValueError, MissingPieceError."""
    if settings.store == DISK:
        from costctl.adapters.answers.disk import DiskStore

        return DiskStore(home.cache, most_bytes=settings.most_bytes)
    from costctl.adapters.answers.redis import RedisStore

    return RedisStore(settings.store)
