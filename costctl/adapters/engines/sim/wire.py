"""JSON, server-sent events and errors, as vLLM puts them on the wire."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Body: TypeAlias = dict[str, Any]

DONE = b"data: [DONE]\n\n"


class ApiError(Exception):
    """A request that is refused, in vLLM's words."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param


def encode(body: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(body, separators=(",", ":")).encode()


def event(kind: str, body: Body) -> bytes:
    """Return one named server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), encode(body))


def openai_error(error: ApiError) -> Body:
    """Return an error in OpenAI's shape, with vLLM's fields."""
    return {"error": {"message": str(error), "type": error.kind, "param": error.param, "code": error.status}}


def anthropic_error(error: ApiError) -> Body:
    """Return an error in Anthropic's shape."""
    return {"type": "error", "error": {"type": error.kind, "message": str(error)}}


def invalid(place: str, detail: str) -> ApiError:
    """Return the error for a body that does not have the right form."""
    return ApiError(400, "Bad Request", f"1 validation error:\n  {{{detail}}}", place)
