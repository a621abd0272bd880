"""`/v1/realtime`: a WebSocket on which every piece of sound is answered with a word."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from costctl.adapters.engines.sim import generate
from costctl.adapters.engines.sim.engine import InterruptedRequestError

if TYPE_CHECKING:
    from costctl.adapters.engines.sim.engine import Engine
    from costctl.adapters.engines.sim.wire import Body


class Realtime:
    """The handler of the WebSocket route."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        """Return the route."""
        return [web.get("/v1/realtime", self.handle, allow_head=False)]

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection to its end."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await _send(socket, "session.created", id=f"sess-{secrets.token_hex(8)}", created=int(time.time()))
        try:
            await Conversation(self._engine, socket).run()
        except InterruptedRequestError as error:
            await _send(socket, "error", error=str(error), code="processing_error")
        await socket.close()
        return socket


class Conversation:
    """One connection. The engine is busy with it from the first sound to the final commit."""

    def __init__(self, engine: Engine, socket: web.WebSocketResponse) -> None:
        self._engine = engine
        self._socket = socket
        self._model_known = False
        self._words = 0

    async def run(self) -> None:
        """Answer events until the client leaves."""
        async with AsyncExitStack() as utterance:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(message.data, utterance)

    async def _answer(self, text: str, utterance: AsyncExitStack) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            await self._error("Invalid JSON", "invalid_json")
            return
        match event.get("type"):
            case "session.update":
                await self._choose_model(event.get("model"))
            case "input_audio_buffer.append":
                await self._hear(event, utterance)
            case "input_audio_buffer.commit":
                await self._commit(event, utterance)
            case kind:
                await self._error(f"Unknown event type: {kind}", "unknown_event")

    async def _choose_model(self, model: object) -> None:
        self._model_known = model == self._engine.settings.served_model_name
        if not self._model_known:
            await self._error(f"The model `{model}` does not exist.", "model_not_found")

    async def _hear(self, event: Body, utterance: AsyncExitStack) -> None:
        try:
            base64.b64decode(event.get("audio") or "", validate=True)
        except (binascii.Error, TypeError):
            await self._error("Invalid audio data", "invalid_audio")
            return
        if not self._words:
            await utterance.enter_async_context(self._engine.request())
        await _send(self._socket, "transcription.delta", delta=generate.token(self._words))
        self._words += 1
        self._engine.counters.generation_tokens += 1

    async def _commit(self, event: Body, utterance: AsyncExitStack) -> None:
        if not self._model_known:
            await self._error("Model not validated. Send a session.update event first.", "model_not_validated")
        elif event.get("final"):
            usage = {"prompt_tokens": self._words, "completion_tokens": self._words, "total_tokens": 2 * self._words}
            await _send(self._socket, "transcription.done", text=generate.text(self._words), usage=usage)
            await utterance.aclose()
            self._engine.finish("stop")
            self._words = 0

    async def _error(self, message: str, code: str) -> None:
        await _send(self._socket, "error", error=message, code=code)


async def _send(socket: web.WebSocketResponse, kind: str, **fields: object) -> None:
    await socket.send_json({"type": kind, **fields})
