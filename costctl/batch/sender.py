"""Sends one line to the daemon and returns what came back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from costctl.batch.results import Result

if TYPE_CHECKING:
    from pathlib import Path

    from costctl.batch.values import Job

BASE = "http://costctl"
_HEADERS = {"Content-Type": "application/json"}
_IDENTITY = re.compile(rb'"id"\s*:\s*"([^"\\]*)"')
_ID_WITHIN_BYTES = 256


class AwayError(Exception):
    """Nobody listens at the control socket."""


class BrokenOffError(Exception):
    """The connection broke before the answer was complete."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back for a line, and how long the server asks to wait if it is busy."""

    result: Result
    retry_after_s: float = 0.0


def open_session(control_socket: Path) -> aiohttp.ClientSession:
    """Return a session whose connections all lead to the daemon, as many as are asked for."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(control_socket), limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the daemon watches a stalled engine
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
        read_bufsize=2**20,
    )


class Sender:
    """Sends lines over one session."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def send(self, job: Job) -> Answer:
        """Return what came back.

        Raises:
            AwayError: there is no daemon at the moment.
            BrokenOffError: it went away, or the engine did, in the middle.
        """
        try:
            async with self._session.post(BASE + job.path, data=job.body, headers=_HEADERS) as answer:
                body = await answer.read()
        except (aiohttp.ClientConnectorError, FileNotFoundError) as error:
            raise AwayError(str(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenOffError(str(error) or type(error).__name__) from error
        found = _IDENTITY.search(body, 0, _ID_WITHIN_BYTES)
        request_id = found[1].decode(errors="replace") if found else ""
        result = Result(status_code=answer.status, body=body, request_id=request_id)
        return Answer(result=result, retry_after_s=_seconds(answer.headers.get("Retry-After")))


def _seconds(text: str | None) -> float:
    return float(text) if text and text.isdecimal() else 0.0
