"""What the front door says itself: errors in OpenAI's shape, and the same inside a stream that broke."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from aiohttp import HttpVersion11, web

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costctl.daemon.supervisor import Refusal

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    417: "invalid_request_error",
    426: "invalid_request_error",
}


def error_body(message: str, *, kind: str, code: str) -> dict[str, object]:
    """Return an error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def error(
    status: int, message: str, code: str, *, headers: dict[str, str] | None = None, close: bool = False
) -> web.Response:
    """Return an error response; `close` ends the connection, for requests whose body was not read."""
    kind = _TYPES.get(status, "server_error")
    response = web.json_response(error_body(message, kind=kind, code=code), status=status, headers=headers)
    if close:
        response.force_close()
    return response


def send_continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body."""
    expects = request.headers.get("Expect", "").lower() == "100-continue"
    if expects and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def refused(refusal: Refusal, last_words: Iterable[str] = ()) -> web.Response:
    """Return 503 for a request that was turned away, with when to come again, and what the engine printed last."""
    headers = None
    if refusal.retry_after_s is not None:
        headers = {"Retry-After": str(max(1, math.ceil(refusal.retry_after_s)))}
    message = "\n".join((refusal.message, *last_words))
    return error(503, message, refusal.code, headers=headers)


def broken_stream(path: str, message: str) -> bytes:
    """Return the event that ends a stream whose engine died, as that API's clients expect it."""
    fault = error_body(message, kind="server_error", code="engine_died")
    if path == "/v1/messages":
        return _event({"type": "error", "error": {"type": "api_error", "message": message}})
    if path.startswith("/v1/responses"):
        # The flat fields are OpenAI's own event; its Python client raises only where it finds `error`.
        return _event({"type": "error", "code": "engine_died", "message": message, "param": None, **fault})
    return f"data: {json.dumps(fault)}\n\ndata: [DONE]\n\n".encode()


def _event(fault: dict[str, object]) -> bytes:
    return f"event: error\ndata: {json.dumps(fault)}\n\n".encode()
