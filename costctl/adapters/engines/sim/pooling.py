"""The inference routes that answer with numbers, and the ones that count tokens."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from aiohttp import web

from costctl.adapters.engines.sim import generate
from costctl.adapters.engines.sim.jobs import check_model, read_body, required
from costctl.adapters.engines.sim.wire import Body, encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from costctl.adapters.engines.sim.engine import Engine

DIMENSIONS = 8


class Pooling:
    """Handlers for everything that does not generate text."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._settings = engine.settings

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        shapes: dict[str, Callable[[Body], Body]] = {
            "/v1/embeddings": self._embeddings,
            "/pooling": self._pooled,
            "/classify": self._classes,
            "/score": self._scores,
            "/v1/score": self._scores,
            "/rerank": self._ranking,
            "/v1/rerank": self._ranking,
            "/v2/rerank": self._ranking,
        }
        return [
            *(web.post(path, self._handler(shape)) for path, shape in shapes.items()),
            web.post("/tokenize", self.tokenise),
            web.post("/detokenize", self.detokenise),
            web.post("/v1/messages/count_tokens", self.count_tokens),
        ]

    async def tokenise(self, request: web.Request) -> web.Response:
        """Return token ids of a prompt or a chat."""
        body = await read_body(request)
        check_model(body, self._settings)
        prompt = body["prompt"] if "prompt" in body else _flat(required(body, "messages"))
        tokens = generate.tokenise(str(prompt))
        counts = {"count": len(tokens), "max_model_len": self._settings.max_model_len}
        return _json(counts | {"tokens": tokens, "token_strs": None})

    async def detokenise(self, request: web.Request) -> web.Response:
        """Return the text of token ids."""
        body = await read_body(request)
        check_model(body, self._settings)
        tokens = [token for token in _listed(required(body, "tokens")) if isinstance(token, int)]
        return _json({"prompt": generate.detokenise(tokens)})

    async def count_tokens(self, request: web.Request) -> web.Response:
        """Return the length of a chat, in Anthropic's shape."""
        body = await read_body(request)
        check_model(body, self._settings)
        messages = _listed(required(body, "messages"))
        count = generate.count_tokens(messages) + generate.CHAT_TEMPLATE_TOKENS * len(messages)
        return _json({"input_tokens": count, "context_management": {"original_input_tokens": count}})

    def _handler(self, shape: Callable[[Body], Body]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            body = await read_body(request)
            check_model(body, self._settings)
            answer = shape(body)
            await self._compute(answer["usage"]["prompt_tokens"])
            return _json({"id": f"pool-{secrets.token_hex(8)}", "model": self._settings.served_model_name} | answer)

        return handle

    async def _compute(self, prompt_tokens: int) -> None:
        async with self._engine.request() as run:
            await self._engine.generate(run, prompt_tokens, 0, None)
        self._engine.finish("stop")

    def _embeddings(self, body: Body) -> Body:
        texts = _texts(required(body, "input"))
        return _listing("embedding", "embedding", [_vector(text) for text in texts], texts)

    def _pooled(self, body: Body) -> Body:
        texts = _texts(required(body, "input"))
        return _listing("pooling", "data", [_vector(text) for text in texts], texts)

    def _classes(self, body: Body) -> Body:
        texts = _texts(required(body, "input"))
        answer = _listing("classify", "probs", [[0.75, 0.25] for _ in texts], texts)
        for entry in answer["data"]:
            entry |= {"label": "LABEL_0", "num_classes": 2}
        return answer

    def _scores(self, body: Body) -> Body:
        texts = _texts(body.get("text_2") or required(body, "documents"))
        return _listing("score", "score", [_score(text) for text in texts], texts)

    def _ranking(self, body: Body) -> Body:
        required(body, "query")
        texts = _texts(required(body, "documents"))
        ranked = sorted(range(len(texts)), key=lambda index: -_score(texts[index]))
        results = [
            {"index": index, "document": {"text": texts[index]}, "relevance_score": _score(texts[index])}
            for index in ranked[: body["top_n"] if isinstance(body.get("top_n"), int) else None]
        ]
        return {"results": results, "usage": _usage(texts)}


def _listing(kind: str, key: str, values: list[object], texts: list[str]) -> Body:
    data = [{"index": index, "object": kind, key: value} for index, value in enumerate(values)]
    return {"object": "list", "created": int(time.time()), "data": data, "usage": _usage(texts)}


def _usage(texts: list[str]) -> dict[str, int]:
    count = generate.count_tokens(texts)
    return {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0}


def _vector(text: str) -> list[float]:
    """Return a vector that depends on the text alone."""
    data = text.encode() or b"\0"
    return [data[at * len(data) // DIMENSIONS] / 255 for at in range(DIMENSIONS)]


def _score(text: str) -> float:
    return _vector(text)[-1]


def _texts(value: object) -> list[str]:
    return [str(part) for part in _listed(value)]


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _flat(messages: object) -> str:
    return "\n".join(str(part.get("content", "")) for part in _listed(messages) if isinstance(part, dict))


def _json(body: Body) -> web.Response:
    return web.Response(body=encode(body), content_type="application/json")
