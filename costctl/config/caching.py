"""Whether answers are cached, which and where: the `[cache]` table. A store's URL may hold a password."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from costctl.config.readers import as_duration, as_size, as_switch, as_text
from costctl.config.tables import Table, placed
from costctl.domain.caching import CacheRules
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.config.tables import TomlFile

DISK = "disk"
_LEAST_ROOM = 2**20
_URL = re.compile(r"(?:redis|rediss|valkey|valkeys|unix)://\S+")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings:
    """How answers are cached; `store` is DISK, or the URL of a Redis or Valkey server."""

    rules: CacheRules = field(default_factory=CacheRules)
    most_bytes: int = 256 * 2**20
    """Of the store on disk; a server has its own bound."""
    store: str = field(default=DISK, repr=False)
    is_on: bool = False


def read_cache(file: TomlFile | None, environ: Mapping[str, str]) -> CacheSettings:
    """Return how answers are cached; without the table they are not.

    Raises:
        BadValueError: the table is not understood.
    """
    if file is None or "cache" not in file.content:
        return CacheSettings()
    table = Table.at(file, ("cache",))
    store = table.take("store", _as_store, DISK)
    variable = table.take("store-env", as_text, None)
    with placed(table):
        found = CacheSettings(
            rules=CacheRules(
                models=table.take("models", _as_names, frozenset()),
                routes=table.take("routes", _as_names, frozenset()),
                ttl_s=table.take("ttl", as_duration, CacheRules().ttl_s),
                temperature_above_zero=table.take("temperature-above-zero", as_switch, default=False),
            ),
            most_bytes=table.take("max-size", _as_room, CacheSettings().most_bytes),
            store=store if variable is None else _store_in(environ, variable),
            is_on=table.take("enabled", as_switch, default=True),
        )
    table.finish()
    return found


def _as_names(value: Any) -> frozenset[str]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise BadValueError(f'{value!r} is not a list of names; "*" is all')
    return frozenset(words)


def _as_room(value: Any) -> int:
    size = as_size(value)
    if size < _LEAST_ROOM:
        raise BadValueError(f"{value!r} is less than 1MiB, which holds hardly an answer")
    return size


def _as_store(value: Any) -> str:
    if value == DISK or (isinstance(value, str) and _URL.fullmatch(value)):
        return str(value)
    raise BadValueError('it is neither "disk" nor a URL like "redis://HOST:PORT/0" or "unix:///PATH"')


def _store_in(environ: Mapping[str, str], variable: str) -> str:
    if not environ.get(variable):
        raise BadValueError(f"the environment variable {variable} (store-env) is not set")
    try:
        return _as_store(environ[variable].strip())
    except BadValueError as error:
        raise BadValueError(f"{variable} (store-env): {error}") from None
