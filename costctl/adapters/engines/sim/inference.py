"""The inference routes that answer with text: one flow, whatever the API's shapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from costctl.adapters.engines.sim.answers import (
    Answer,
    ChatAnswer,
    CompletionAnswer,
    TranscriptionAnswer,
    TranslationAnswer,
)
from costctl.adapters.engines.sim.engine import InterruptedRequestError
from costctl.adapters.engines.sim.event_answers import MessageAnswer, ResponseAnswer
from costctl.adapters.engines.sim.jobs import make_job, read_body, read_job, required
from costctl.adapters.engines.sim.wire import ApiError, Body, encode, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.adapters.engines.sim.engine import Engine, Run
    from costctl.adapters.engines.sim.jobs import Job

EVENT_STREAM = {"Content-Type": "text/event-stream; charset=utf-8"}
AUDIO_BYTES_PER_TOKEN = 640
"""Fifty tokens for a second of 16-bit sound at 16 kHz."""
TEXT_ANSWERS: Mapping[str, type[Answer]] = {
    "/v1/chat/completions": ChatAnswer,
    "/v1/completions": CompletionAnswer,
    "/v1/responses": ResponseAnswer,
    "/v1/messages": MessageAnswer,
}
SPEECH_ANSWERS: Mapping[str, type[Answer]] = {
    "/v1/audio/transcriptions": TranscriptionAnswer,
    "/v1/audio/translations": TranslationAnswer,
}


class Inference:
    """Handlers for everything that generates text."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings = engine.settings

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        paths = [*(web.post(path, self.text) for path in TEXT_ANSWERS), web.post("/invocations", self.invocations)]
        return [*paths, *(web.post(path, self.speech) for path in SPEECH_ANSWERS)]

    async def text(self, request: web.Request) -> web.StreamResponse:
        """Answer a JSON request in the shape of its route."""
        return await self._text(request, TEXT_ANSWERS[request.path], None)

    async def invocations(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat or a completion at SageMaker's route, which vLLM leaves open to all."""
        body = await read_body(request)
        return await self._text(request, ChatAnswer if "messages" in body else CompletionAnswer, body)

    async def speech(self, request: web.Request) -> web.StreamResponse:
        """Answer an upload of sound."""
        kind = SPEECH_ANSWERS[request.path]
        fields, size = await _read_upload(request)
        tokens = max(1, size // AUDIO_BYTES_PER_TOKEN)
        return await self._answer(request, kind, make_job(fields, kind.form, self._settings, None, tokens))

    async def _text(self, request: web.Request, kind: type[Answer], body: Body | None) -> web.StreamResponse:
        request_id = request.headers.get("X-Request-Id")
        try:
            body = await read_body(request) if body is None else body
            return await self._answer(request, kind, read_job(body, kind.form, self._settings, request_id))
        except ApiError as error:
            return web.Response(body=encode(kind.refusal(error)), status=error.status, content_type="application/json")

    async def _answer(self, request: web.Request, kind: type[Answer], job: Job) -> web.StreamResponse:
        answer = kind(job)
        if job.stream:
            return await self._stream(request, answer, job)
        async with self._engine.request() as run:
            await self._engine.generate(run, job.prompt_tokens, job.length, None)
        self._engine.finish(job.finish)
        return web.Response(body=encode(answer.whole()), content_type="application/json")

    async def _stream(self, request: web.Request, answer: Answer, job: Job) -> web.StreamResponse:
        response = web.StreamResponse(headers=EVENT_STREAM)
        try:
            async with self._engine.request() as run:
                await self._stream_tokens(request, response, answer, job, run)
        except InterruptedRequestError as error:
            if not response.prepared:
                raise
            await response.write(answer.broken(error))
        else:
            self._engine.finish(job.finish)
            await response.write(answer.closing())
        return response

    async def _stream_tokens(
        self, request: web.Request, response: web.StreamResponse, answer: Answer, job: Job, run: Run
    ) -> None:
        async def emit(index: int) -> None:
            if not response.prepared:
                # As in vLLM: the status line waits for the first token.
                await response.prepare(request)
                await response.write(answer.opening())
            await response.write(answer.chunk(index))

        await self._engine.generate(run, job.prompt_tokens, job.length, emit)


async def _read_upload(request: web.Request) -> tuple[Body, int]:
    """Return the form's fields and the size of its file, which is read and dropped as it comes."""
    if not request.content_type.startswith("multipart/"):
        raise invalid("body.file", "'type': 'missing', 'loc': 'body.file', 'msg': 'Field required'")
    fields: Body = {}
    size = 0
    async for part in await request.multipart():
        if getattr(part, "name", None) == "file":
            fields["file"] = True
            while chunk := await part.read_chunk(65_536):  # type: ignore[union-attr]
                size += len(chunk)
        else:
            fields[part.name or ""] = await part.text()  # type: ignore[union-attr]
    required(fields, "file")
    return fields, size
