"""Results as OpenAI's batches write them: one JSON object a line."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

_OK, _REDIRECT = 200, 300
_CUSTOM_ID = re.compile(rb'\{"id":"[^"]*","custom_id":"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What the engine answered."""

    status_code: int
    body: bytes
    """As it came; JSON if the request was understood."""
    request_id: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it is what was asked for; otherwise it belongs among the errors."""
        return _OK <= self.status_code < _REDIRECT


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why there is no answer."""

    code: str
    """One word: timeout, connection, ..."""
    message: str


def result_line(key: str, custom_id: str, outcome: Result | Failure) -> bytes:
    """Return the line for a request.

    Args:
        key: what the line is called, letters and digits only.
        custom_id: the request's name.
        outcome: the answer or the failure.
    """
    head = b'{"id":"%b","custom_id":%b' % (key.encode(), json.dumps(custom_id).encode())
    if isinstance(outcome, Failure):
        error = json.dumps({"code": outcome.code, "message": outcome.message}).encode()
        return b'%b,"response":null,"error":%b}\n' % (head, error)
    return b'%b,"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null}\n' % (
        head,
        outcome.status_code,
        json.dumps(outcome.request_id).encode(),
        _on_one_line(outcome),
    )


def renamed(line: bytes, key: str, custom_id: str) -> bytes:
    """Return another request's result line under this request's names."""
    match = _CUSTOM_ID.match(line)
    if match is None:
        raise ValueError("not a result line")
    return b'{"id":"%b","custom_id":%b%b' % (key.encode(), json.dumps(custom_id).encode(), line[match.end() :])


def _looks_like_an_object(body: bytes) -> bool:
    """Tell what an engine answers from what something else does, without reading all of it as JSON."""
    return body[:1] == b"{" and body[-2:].rstrip().endswith(b"}")


def _on_one_line(result: Result) -> bytes:
    """Return the body as JSON without line ends, which JSON has only between its parts; anything else as a string."""
    body = result.body
    if not (result.is_success and _looks_like_an_object(body)):
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            body = json.dumps(body.decode(errors="replace")).encode()
    return body.translate(None, b"\r\n") if b"\n" in body or b"\r" in body else body
