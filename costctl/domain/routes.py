"""Which of an engine's routes the front door has, and what a request to each means for the engine.

An allow-list: what is not here does not exist at the front door. vLLM's `/invocations` would give inference past the
routes that are counted, its development routes have no key at all, and both are therefore absent.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Kind(StrEnum):
    """What a route means."""

    INFERENCE = "inference"
    """Work: wakes the engine and keeps it awake."""
    SOCKET = "socket"
    """A WebSocket; work as long as messages flow."""
    PASSIVE = "passive"
    """About earlier work: passed on while the engine is up, never wakes it."""
    OWN = "own"
    """Answered by costctl itself."""
    STORED = "stored"
    """About files and batches that costctl keeps; never wakes the engine by itself."""


class Endpoint(StrEnum):
    """What a line of a batch can ask for."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    SCORE = "score"
    RERANK = "rerank"


BATCH_ENDPOINTS = {
    "/v1/chat/completions": Endpoint.CHAT,
    "/v1/completions": Endpoint.COMPLETIONS,
    "/v1/responses": Endpoint.RESPONSES,
    "/v1/embeddings": Endpoint.EMBEDDINGS,
    "/v1/score": Endpoint.SCORE,
    "/score": Endpoint.SCORE,
    "/v1/rerank": Endpoint.RERANK,
    "/v2/rerank": Endpoint.RERANK,
    "/rerank": Endpoint.RERANK,
}
"""The paths of requests that batches are made of, as vLLM has them; all of them are work."""

GENERATING = frozenset(("/v1/chat/completions", "/v1/completions", "/v1/messages"))
"""Routes whose JSON answers are generated token by token, and stand for themselves."""
DETERMINISTIC = frozenset(
    (
        "/v1/embeddings",
        "/v2/embed",
        "/v1/rerank",
        "/v2/rerank",
        "/rerank",
        "/v1/score",
        "/score",
        "/pooling",
        "/classify",
    )
)
"""Routes whose JSON answers follow from the request and the model alone."""
_INFERENCE_PATHS = (
    *GENERATING,
    *DETERMINISTIC,
    "/v1/chat/completions/batch",
    "/v1/responses",
    "/v1/messages/count_tokens",
    "/tokenize",
    "/detokenize",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)
_OWN_PATHS = ("/health", "/ping", "/version", "/metrics", "/v1/models", "/")
_KINDS = (
    {("POST", path): Kind.INFERENCE for path in _INFERENCE_PATHS}
    | {(method, path): Kind.OWN for path in _OWN_PATHS for method in ("GET", "HEAD")}
    | {("GET", "/v1/realtime"): Kind.SOCKET}
    | {(method, path): Kind.STORED for path in ("/v1/files", "/v1/batches") for method in ("GET", "POST")}
)
_MODEL = re.compile(r"/v1/models/.+")
_RESPONSE = re.compile(r"/v1/responses/[A-Za-z0-9_-]{1,128}(?P<cancel>/cancel)?")
_STORED = {
    re.compile(r"/v1/files/[A-Za-z0-9_-]{1,128}"): ("GET", "DELETE"),
    re.compile(r"/v1/files/[A-Za-z0-9_-]{1,128}/content"): ("GET",),
    re.compile(r"/v1/batches/[A-Za-z0-9_-]{1,128}"): ("GET",),
    re.compile(r"/v1/batches/[A-Za-z0-9_-]{1,128}/cancel"): ("POST",),
}
_PATHS = {path for _, path in _KINDS}


def kind_of(method: str, path: str) -> Kind | None:
    """Return what a request means, None if the front door has no such route; `path` is as the client wrote it.

    Only exact paths match: dot segments, doubled slashes and escapes lead nowhere.
    """
    kind = _KINDS.get((method, path))
    if kind is not None:
        return kind
    if method in ("GET", "HEAD") and _MODEL.fullmatch(path):
        return Kind.OWN
    match = _RESPONSE.fullmatch(path)
    if match and method == ("POST" if match["cancel"] else "GET"):
        return Kind.PASSIVE
    return Kind.STORED if method in _stored_methods(path) else None


def known_path(path: str) -> bool:
    """Return whether the path exists with another method."""
    return path in _PATHS or bool(_MODEL.fullmatch(path) or _RESPONSE.fullmatch(path) or _stored_methods(path))


def _stored_methods(path: str) -> tuple[str, ...]:
    return next((methods for pattern, methods in _STORED.items() if pattern.fullmatch(path)), ())
