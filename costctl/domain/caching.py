"""Which requests may be answered from the cache, and the key of an answer: the request in its canonical form.

Two requests have one key only if an engine cannot tell them apart. JSON says the same in several ways: the order of the
keys of the request and of each message, and the form of numbers such as the temperature. Below that the order is kept
as it was written: of a tool's or an answer's schema it reaches the prompt, or decides in which order fields are
generated. A null is not taken for an absent field either; engines do not all agree that it is.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from costctl.domain.routes import DETERMINISTIC, GENERATING
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CACHEABLE_ROUTES = GENERATING | DETERMINISTIC
"""Responses are not here, as clients refer to them by their ids later; transcriptions are not JSON."""
EVERY = "*"
"""Instead of names: all models, or all routes."""
LARGEST_REQUEST = 256 * 1024
"""In bytes; parsing a larger one would hold up the others, and hardly any comes twice."""
_LONGEST_TTL_S = 366 * 86_400
_FORMAT = "costctl answer 1"
_SEEDED = GENERATING - {"/v1/messages"}  # Anthropic's API has no seed, so engines may ignore one
_NO_PART = frozenset(("user", "metadata", "safety_identifier", "prompt_cache_key", "priority", "request_id"))
"""Fields that say who asks, or how urgently: the answer is the same."""
_ELSEWHERE = frozenset(("kv_transfer_params", "background"))
"""Fields by which a request does something beside its answer."""


class Wish(StrEnum):
    """What a client may say in the header `x-costctl-cache`, or in HTTP's own `cache-control`."""

    USE = "use"
    """Answer from the cache, if it may be, although neither model nor route is configured to."""
    BYPASS = "bypass"
    """Neither look nor keep."""
    REFRESH = "refresh"
    """Do not look, but keep the new answer."""
    NO_CACHE = "no-cache"
    """The same, but only where the cache has a part in it anyway: some clients say so in every request."""

    @classmethod
    def read(cls, header: str | None, cache_control: str | None = None) -> Wish | None:
        """Return what the headers say, None if nothing; what is not understood must not be served from a cache."""
        if header is None:
            return cls._read_http(cache_control) if cache_control else None
        try:
            return cls(header.strip().lower())
        except ValueError:
            return cls.BYPASS

    @classmethod
    def _read_http(cls, cache_control: str) -> Wish | None:
        directives = {word.strip().lower() for word in cache_control.split(",")}
        if "no-store" in directives:
            return cls.BYPASS
        return None if directives.isdisjoint(("no-cache", "max-age=0")) else cls.NO_CACHE


_TURNS_ON = frozenset((Wish.USE, Wish.REFRESH))


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheRules:
    """Which requests are answered from the cache without being asked to, and for how long an answer is good."""

    models: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    ttl_s: float = 3600
    temperature_above_zero: bool = False
    """Whether answers that would differ from one time to the next are cached too."""

    def __post_init__(self) -> None:
        if not 0 < self.ttl_s <= _LONGEST_TTL_S:
            raise BadValueError("an answer is kept for some time, and for a year at most")
        unknown = sorted(self.routes - CACHEABLE_ROUTES - {EVERY})
        if unknown:
            known = ", ".join(sorted(CACHEABLE_ROUTES))
            raise BadValueError(f"answers of the route {unknown[0]!r} cannot be cached; those of {known} can")

    def may_apply(self, route: str, wish: Wish | None) -> bool:
        """Return whether a request may be cached, before its body is looked at."""
        if route not in CACHEABLE_ROUTES or wish is Wish.BYPASS:
            return False
        return wish in _TURNS_ON or bool(self.models) or self._names_route(route)

    def apply(self, route: str, body: Mapping[str, Any], wish: Wish | None) -> bool:
        """Return whether a request may be answered from the cache."""
        named = wish in _TURNS_ON or self._names_route(route) or not self.models.isdisjoint((body.get("model"), EVERY))
        return named and _ELSEWHERE.isdisjoint(body) and (self.temperature_above_zero or _is_settled(route, body))

    def _names_route(self, route: str) -> bool:
        return not self.routes.isdisjoint((route, EVERY))


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """A request that may be answered from the cache; `looks` unless only its new answer is to be kept."""

    key: str
    revision: str
    looks: bool


def read_question(target: str, body: bytes, *, rules: CacheRules, wish: Wish | None, revision: str) -> Question | None:
    """Return a request as the cache knows it, None if the cache has no part in it.

    Args:
        target: the path of the request with its query, as it was written.
        body: the request's body.
        rules: what is cached.
        wish: what the client says.
        revision: names the engine with everything that shapes its answers.
    """
    route = target.partition("?")[0]
    if len(body) > LARGEST_REQUEST or not rules.may_apply(route, wish):
        return None
    try:
        request = _parse(body)
        if not rules.apply(route, request, wish):
            return None
        looks = wish not in (Wish.REFRESH, Wish.NO_CACHE)
        return Question(key=_key(target, request, revision), revision=revision, looks=looks)
    except (ValueError, TypeError, RecursionError):
        return None  # whatever it is, the engine will say what it thinks of it


def _parse(body: bytes) -> dict[str, Any]:
    request = json.loads(body, object_pairs_hook=_unambiguous, parse_constant=_refuse)
    if not isinstance(request, dict) or not isinstance(request.get("stream", False), bool):
        raise TypeError("this is not a request")
    return request


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("of a key that stands twice, engines may take the one or the other")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _is_settled(route: str, body: Mapping[str, Any]) -> bool:
    """Return whether the same request gets the same answer.

    Without a temperature the model's own generation_config decides, or the API's default of 1. `top_k` of 1 is as good
    as a temperature of 0 with vLLM, but it is none of OpenAI's fields, which other engines may ignore.
    """
    if route in DETERMINISTIC or (route in _SEEDED and _is_number(body.get("seed"))):
        return True
    temperature = body.get("temperature")
    return _is_number(temperature) and temperature == 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(target: str, request: Mapping[str, Any], revision: str) -> str:
    dropped = _NO_PART if request.get("stream") else _NO_PART | {"stream", "stream_options"}
    body = {name: _canonical(name, request[name]) for name in sorted(request) if name not in dropped}
    text = json.dumps([_FORMAT, target, revision, body], separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(name: str, value: Any) -> Any:
    match name, value:
        case "messages", list():
            return _ordered(value)
        case "logit_bias" | "stream_options", dict():
            return {key: _plain(value[key]) for key in sorted(value)}
        case _:
            return _plain(value)


def _ordered(messages: Sequence[Any]) -> list[Any]:
    return [dict(sorted(message.items())) if isinstance(message, dict) else message for message in messages]


def _plain(value: Any) -> Any:
    """Return 1.0, 1e0 and 1 as one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
