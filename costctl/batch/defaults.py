"""What all requests of a file have in common, unless they say otherwise themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from costctl.domain.routes import Endpoint
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LIMITS = {
    Endpoint.CHAT: ("max_tokens", "max_completion_tokens"),
    Endpoint.COMPLETIONS: ("max_tokens",),
    Endpoint.RESPONSES: ("max_output_tokens",),
}
"""How an endpoint that writes text calls the most tokens to write: the first name is used, any counts as given."""
_MEANINGLESS = ("stream", "stream_options", "background")
"""A result is one whole answer, so how it would travel is left out."""
_INSTRUCTING = ("system", "developer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """Values for all lines; a line's own value wins.

    Raises:
        ValueError: a value can hold for no request.
    """

    model: str | None = None
    max_tokens: int | None = None
    """For chats, completions and responses."""
    temperature: float | None = None
    """For chats, completions and responses."""
    system: str | None = None
    """For chats without a system message and responses without instructions."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Merged into every body, object by object."""
    prompts_are_chats: bool = True
    """Whether a plain prompt is one user message of a chat, not the beginning of a text."""

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"at most {self.max_tokens} tokens is no answer")
        if self.temperature is not None and not 0 <= self.temperature < float("inf"):
            raise ValueError(f"{self.temperature} is no temperature")
        canonical_json(self.extra_body)

    def canonical(self) -> bytes:
        """Return them as bytes that are equal if they are."""
        return canonical_json({one.name: getattr(self, one.name) for one in fields(self)})

    def applied(self, endpoint: Endpoint, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of a request with the defaults that have a meaning for it."""
        whole = _merged(self.extra_body, body)
        for name in _MEANINGLESS:
            whole.pop(name, None)
        if self.model is not None and whole.get("model") is None:
            whole["model"] = self.model
        if endpoint in _LIMITS:
            self._steer(endpoint, whole)
        return whole

    def _steer(self, endpoint: Endpoint, whole: dict[str, Any]) -> None:
        limits = _LIMITS[endpoint]
        if self.max_tokens is not None and not any(name in whole for name in limits):
            whole[limits[0]] = self.max_tokens
        if self.temperature is not None:
            whole.setdefault("temperature", self.temperature)
        if self.system is None:
            return
        if endpoint is Endpoint.RESPONSES:
            whole.setdefault("instructions", self.system)
        elif endpoint is Endpoint.CHAT and not _is_instructed(whole.get("messages")):
            whole["messages"] = [{"role": "system", "content": self.system}, *whole["messages"]]


def read_extra_body(text: str) -> dict[str, Any]:
    """Return the JSON object that was given for all lines.

    Raises:
        BadValueError: it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadValueError(f"the extra body {text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadValueError(f'the extra body {text!r} is not a JSON object, like {{"top_p": 0.9}}')
    return value


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """Return an object as JSON with its keys in order.

    Keys of objects inside stay as they are: their order reaches the model, through tools and schemas.

    Raises:
        ValueError: it has no JSON form: infinite, not a number, half a character, nested too deeply.
    """
    ordered = {name: value[name] for name in sorted(value)}
    try:
        return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a character (a lone surrogate) is no text") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _merged(default: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**default, **own}
    for name in default.keys() & own.keys():
        if isinstance(default[name], dict) and isinstance(own[name], dict):
            merged[name] = _merged(default[name], own[name])
    return merged


def _is_instructed(messages: Any) -> bool:
    """Return whether a chat has a system message, or is no chat at all, which is told elsewhere."""
    if not isinstance(messages, list):
        return True
    return any(isinstance(message, dict) and message.get("role") in _INSTRUCTING for message in messages)
