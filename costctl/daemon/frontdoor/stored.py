"""Files and batches over HTTP, as OpenAI's API has them; nothing here wakes the engine."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from aiohttp import web

from costctl.daemon.frontdoor import answers
from costctl.daemon.frontdoor.bodies import Body, BodyError, Memory
from costctl.daemon.frontdoor.uploads import PATIENCE_S, receive
from costctl.domain.batch_orders import read_order
from costctl.domain.stored_files import Purpose, page
from costctl.errors import BadValueError, CostctlError, StorageFullError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from costctl.daemon.http_batches import HttpBatches
    from costctl.daemon.stored_batches import StoredBatches
    from costctl.daemon.stored_files import StoredFiles
    from costctl.domain.http_batches import HttpBatch
    from costctl.domain.stored_files import StoredFile

_MOST_FILES, _MOST_BATCHES, _USUAL_BATCHES = 10_000, 100, 20


class StoredRoutes:
    """Answers /v1/files and /v1/batches."""

    def __init__(
        self,
        *,
        files: StoredFiles,
        batches: StoredBatches,
        runs: HttpBatches,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._files = files
        self._batches = batches
        self._runs = runs
        self._patience_s = patience_s
        self._memory = Memory()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        try:
            return await self._answer(request)
        except BodyError as error:
            return answers.error(error.status, error.message, error.code, close=True)
        except BadValueError as error:
            return answers.error(400, str(error), "invalid_value", close=True)
        except StorageFullError as error:
            return answers.error(413, str(error), "storage_full", close=True)
        except CostctlError as error:
            return answers.error(500, str(error), "storage_failed", close=True)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, or raise one of the errors above; the door knows the routes already."""
        _, _, kind, *rest = request.raw_path.partition("?")[0].split("/")
        match kind, request.method, rest:
            case "files", "POST", []:
                return await self._upload(request)
            case "files", _, []:
                return self._list_files(request)
            case "files", method, [identity, *content]:
                return await self._file(identity, method, content=bool(content))
            case _, "POST", []:
                return await self._create(request)
            case _, _, []:
                return self._list_batches(request)
            case _:
                return await self._batch(rest[0], request.method)

    # --- files ---------------------------------------------------------------------------------------------------

    async def _upload(self, request: web.BaseRequest) -> web.Response:
        self._files.demand_room(request.content_length or 0)
        answers.send_continue(request)
        incoming = await self._files.begin()
        try:
            file = await receive(request, incoming, patience_s=self._patience_s)
        finally:
            await incoming.close()
        return web.json_response(file.as_openai())

    def _list_files(self, request: web.BaseRequest) -> web.Response:
        query = _query(request)
        limit = _limit(query, usual=_MOST_FILES, most=_MOST_FILES)
        found = self._files.all(query.get("purpose"))
        order = query.get("order", "desc")
        if order not in {"asc", "desc"}:
            raise BadValueError("order is asc or desc")
        return _page(*page(found, after=query.get("after"), limit=limit, ascending=order == "asc"))

    async def _file(self, identity: str, method: str, *, content: bool) -> web.StreamResponse:
        file = self._files.find(identity)
        if file is None:
            return answers.error(404, f"there is no file {identity}", "file_not_found")
        if content:
            name = quote(file.filename)
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Disposition": f"attachment; filename*=UTF-8''{name}",
                "X-Content-Type-Options": "nosniff",
            }
            return web.FileResponse(self._files.content(file), headers=headers)
        if method == "DELETE":
            await self._files.delete(file)
            return web.json_response({"id": identity, "object": "file", "deleted": True})
        return web.json_response(file.as_openai())

    # --- batches -------------------------------------------------------------------------------------------------

    async def _create(self, request: web.BaseRequest) -> web.Response:
        order = read_order(await self._json(request))
        source = self._files.find(order.input_file_id)
        if source is None:
            return answers.error(404, f"there is no file {order.input_file_id}", "file_not_found")
        if source.purpose != Purpose.BATCH:
            raise BadValueError(f"{source.id} is no input of a batch: its purpose is {source.purpose}")
        return web.json_response((await self._runs.create(order, source)).as_openai())

    def _list_batches(self, request: web.BaseRequest) -> web.Response:
        query = _query(request)
        limit = _limit(query, usual=_USUAL_BATCHES, most=_MOST_BATCHES)
        return _page(*page(self._batches.all(), after=query.get("after"), limit=limit))

    async def _batch(self, identity: str, method: str) -> web.Response:
        batch = self._batches.find(identity)
        if batch is None:
            return answers.error(404, f"there is no batch {identity}", "batch_not_found")
        if method == "POST":
            try:
                batch = await self._runs.cancel(batch)
            except ValueError:
                return answers.error(409, f"{identity} is {batch.status}: it cannot be cancelled", "batch_over")
        return web.json_response(batch.as_openai())

    async def _json(self, request: web.BaseRequest) -> dict[str, Any]:
        answers.send_continue(request)
        body = Body(request, most=sys.maxsize, patience_s=self._patience_s, memory=self._memory)
        try:
            content = await body.read_start()
        finally:
            body.let_go()
        if content is None:
            raise BodyError(413, "a batch is ordered in less than a MiB", "body_too_large")
        with suppress(ValueError, RecursionError):
            given = json.loads(content)
            if isinstance(given, dict):
                return given
        raise BadValueError("the body of the request is not a JSON object")


def _query(request: web.BaseRequest) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(request.raw_path.partition("?")[2]).items()}


def _limit(query: dict[str, str], *, usual: int, most: int) -> int:
    given = query.get("limit", str(usual))
    if not given.isdecimal() or not 1 <= int(given[:9]) <= most:
        raise BadValueError(f"limit is a whole number from 1 to {most}")
    return int(given)


def _page(items: Iterable[StoredFile | HttpBatch], has_more: bool) -> web.Response:  # noqa: FBT001 - page() gives both
    data = [item.as_openai() for item in items]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return web.json_response({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more})
