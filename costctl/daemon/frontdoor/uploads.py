"""Multipart uploads, written to the disk as they come, within bounds of size and time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp

from costctl.daemon.frontdoor.bodies import BodyError
from costctl.domain.stored_files import Purpose, read_kept_s, safe_filename
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from aiohttp import web

    from costctl.daemon.stored_files import Incoming
    from costctl.domain.stored_files import StoredFile

PATIENCE_S = 60.0
_PIECE_BYTES = 2**18
_MOST_FIELDS = 16
_LONGEST_FIELD = 1024


@dataclass(kw_only=True, slots=True)
class _Form:
    fields: dict[str, str]
    filename: str | None = None


async def receive(request: web.BaseRequest, incoming: Incoming, *, patience_s: float = PATIENCE_S) -> StoredFile:
    """Return the file that a client uploads.

    Raises:
        BodyError: it is no upload, or came too slowly or not to its end.
        BadValueError: a field is missing or makes no sense.
        CostctlError: it cannot be kept, for want of room or otherwise.
    """
    if not request.content_type.startswith("multipart/form-data"):
        raise BadValueError("an upload is multipart/form-data, with the fields purpose and file")
    try:
        form = await _read_form(request, incoming, patience_s)
    except (ValueError, AssertionError, RuntimeError, aiohttp.ClientPayloadError) as error:
        raise BodyError(400, f"this is not multipart/form-data that can be read: {error}", "bad_request") from None
    if (fault := getattr(request.protocol, "body_fault", None)) is not None:
        raise BodyError(400, f"the body of the request cannot be read: {fault}", "bad_request")
    if form.filename is None:
        raise BadValueError("the field file is missing")
    if form.fields.get("purpose") != Purpose.BATCH:
        raise BadValueError(
            f"purpose is {form.fields.get('purpose')!r}: files are kept here for batches ('batch') alone"
        )
    kept_s = read_kept_s(_expires_after(form.fields))
    return await incoming.keep(filename=form.filename, purpose=Purpose.BATCH, kept_s=kept_s)


async def _read_form(request: web.BaseRequest, incoming: Incoming, patience_s: float) -> _Form:
    form = _Form(fields={})
    reader = await request.multipart()
    while (part := await _soon(reader.next(), patience_s)) is not None:
        if not isinstance(part, aiohttp.BodyPartReader):
            raise BadValueError("parts within parts are not read here")
        if part.name == "file" and form.filename is None:
            form.filename = safe_filename(part.filename or "")
            while piece := await _soon(part.read_chunk(_PIECE_BYTES), patience_s):
                await incoming.write(piece)
        elif len(form.fields) >= _MOST_FIELDS:
            raise BadValueError(f"an upload has at most {_MOST_FIELDS} fields")
        else:
            form.fields[part.name or ""] = await _text(part, patience_s)
    return form


async def _text(part: aiohttp.BodyPartReader, patience_s: float) -> str:
    content = b""
    while piece := await _soon(part.read_chunk(_LONGEST_FIELD), patience_s):
        content += piece
        if len(content) > _LONGEST_FIELD:
            raise BadValueError(f"the field {part.name} is longer than {_LONGEST_FIELD} bytes")
    return content.decode(errors="replace")


def _expires_after(fields: dict[str, str]) -> object:
    """Return the object that the form's fields are parts of, as OpenAI's client takes it apart."""
    parts = {name: fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds")}
    return parts if any(parts.values()) else fields.get("expires_after")


async def _soon(awaitable: Awaitable[Any], patience_s: float) -> Any:
    try:
        async with asyncio.timeout(patience_s):
            return await awaitable
    except TimeoutError:
        raise BodyError(408, "the body of the request came too slowly", "slow_body") from None
