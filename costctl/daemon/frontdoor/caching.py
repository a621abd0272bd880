"""The answer cache before the engine: what is in it neither wakes the engine nor counts as activity.

A store that fails or is slow never fails a request: its answer is not found, the trouble is logged once, and the store
is left alone for a while. Equal requests that are in flight at the same time are not merged; each asks the engine.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiohttp import web

from costctl.domain.caching import Question, Wish, read_question
from costctl.domain.lifecycle import EngineState, Lifecycle
from costctl.domain.stored_answers import StoredAnswer, complete_answer
from costctl.errors import AnswerStoreError, BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.domain.caching import CacheRules
    from costctl.domain.stored_answers import Tokens
    from costctl.ports import AnswerStore, Clock

    Result = TypeVar("Result")

logger = logging.getLogger(__name__)

HEADER = "X-Costctl-Cache"
LARGEST_ANSWER = 4 * 2**20
"""In bytes; a longer one is passed on, and not kept."""
_COPIES_TOTAL = 64 * 2**20
_PATIENCE_S = 0.25
_REST_S = 10.0
_THREADS = 8
_OK = 200
_LAST_EVENT = b"data: [DONE]\n\n"


class CacheBook(Protocol):
    """Where it is counted what the cache was good for."""

    def answer_found(self, model: str, tokens: Tokens) -> None:
        """An answer of so many tokens came from the cache."""
        ...

    def answer_missed(self, model: str) -> None:
        """The cache was asked in vain."""
        ...


class Copy:
    """What is kept of an answer while it passes to its client (the data path's `Tee`)."""

    def __init__(self, cache: AnswerCache, question: Question) -> None:
        self.headers = {HEADER: "miss"}
        self._cache = cache
        self._question = question
        self._content_type: str | None = None
        self._chunks: list[bytes] = []
        self._size = 0

    def begin(self, status: int, content_type: str, encoding: str | None) -> None:
        """Take in the head: only whole answers in plain text are kept."""
        if status == _OK and encoding is None:
            self._content_type = content_type

    def add(self, chunk: bytes) -> None:
        """Take in a part of the answer."""
        if self._content_type is None:
            return
        self._size += len(chunk)
        self._chunks.append(chunk)
        if not self._cache.has_room(self._size, len(chunk)):
            self._forget()

    def end(self) -> None:
        """Keep the answer: it has come to its end."""
        if self._content_type is not None:
            self._cache.keep(self._question, self._content_type, self._chunks)
        self._forget()

    def close(self) -> None:
        """Forget what came of an answer without an end; but a client that left at the last event has had them all."""
        if self._chunks and self._chunks[-1].endswith(_LAST_EVENT):
            self.end()
        self._forget()

    def _forget(self) -> None:
        self._cache.give_back(self._size)
        self._content_type, self._chunks, self._size = None, [], 0


@dataclass(slots=True)
class _Counts:
    hits: int = 0
    misses: int = 0
    stored: int = 0
    saved_tokens: int = 0


class AnswerCache:
    """Looks for answers and keeps new ones; made on the event loop, where all but the store's own calls run."""

    def __init__(
        self,
        *,
        store: AnswerStore,
        rules: CacheRules,
        revision: Callable[[], str],
        book: CacheBook,
        model: str,
        clock: Clock,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self._store = store
        self._rules = rules
        self._read_revision = revision
        self._revision = revision()
        self._book = book
        self._model = model
        self._clock = clock
        self._patience_s = patience_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="answers")
        self._puts: set[asyncio.Future[Any]] = set()
        self._held = 0
        self._rests_until = float("-inf")
        self._counts = _Counts()
        self.problem: str | None = None

    def lifecycle_changed(self, before: Lifecycle, after: Lifecycle) -> None:
        """Name the engine anew when one has become ready: it may have fetched other weights (a listener)."""
        if after.state is EngineState.READY and before.state is not EngineState.READY:
            self._revision = self._read_revision()

    # --- the front door ------------------------------------------------------------------------------------------

    def question(self, request: web.BaseRequest, body: bytes) -> Question | None:
        """Return what a request asks, None if the cache has no part in it."""
        wish = Wish.read(request.headers.get(HEADER))
        return read_question(request.raw_path, body, rules=self._rules, wish=wish, revision=self._revision)

    async def find(self, question: Question) -> StoredAnswer | None:
        """Return the answer to a question, None if there is none that may be given."""
        if not question.looks:
            return None
        found = await self._ask(partial(self._look_up, question.key))
        if found is None:
            self._counts.misses += 1
            self._book.answer_missed(self._model)
            return None
        self._counts.hits += 1
        self._counts.saved_tokens += found.tokens.prompt + found.tokens.generation
        self._book.answer_found(self._model, found.tokens)
        return found

    def copy_for(self, question: Question) -> Copy:
        """Return what takes in the engine's answer to a question."""
        return Copy(self, question)

    def has_room(self, size: int, more: int) -> bool:
        """Take `more` bytes for a copy of now `size` bytes, and return whether there was room for them."""
        self._held += more
        return size <= LARGEST_ANSWER and self._held <= _COPIES_TOTAL

    def give_back(self, size: int) -> None:
        """Let `size` bytes go."""
        self._held -= size

    def keep(self, question: Question, content_type: str, chunks: list[bytes]) -> None:
        """Keep an answer if it is complete, and of the engine that was asked; nobody waits for it."""
        if self._resting() or question.revision != self._revision:
            return
        size = sum(map(len, chunks))
        self._held += size
        put = asyncio.get_running_loop().run_in_executor(self._threads, self._put, question.key, content_type, chunks)
        self._puts.add(put)
        put.add_done_callback(partial(self._was_put, size))

    async def close(self) -> None:
        """Finish what is being kept, within reason, and let go of the store."""
        self._rests_until = float("inf")
        if self._puts:
            await asyncio.wait(self._puts, timeout=self._patience_s)
        self._threads.shutdown(wait=False, cancel_futures=True)
        with suppress(AnswerStoreError):
            self._store.close()

    # --- for people ----------------------------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """Return what it was good for since the daemon started."""
        counts, asked = self._counts, self._counts.hits + self._counts.misses
        return {
            "store": self._store.name,
            "hits": counts.hits,
            "misses": counts.misses,
            "hit_rate": round(counts.hits / asked, 4) if asked else None,
            "saved_tokens": counts.saved_tokens,
            "stored": counts.stored,
            "problem": self.problem,
        }

    async def content(self) -> dict[str, Any]:
        """Return the same with what the store holds. Raises AnswerStoreError."""
        held = await self._in_thread(self._store.content)
        return self.status() | {"entries": held.entries, "bytes_used": held.bytes_used, "bytes_most": held.bytes_most}

    async def clear(self) -> int:
        """Drop all answers and return how many. Raises AnswerStoreError."""
        return await self._in_thread(self._store.clear)

    # --- the store -----------------------------------------------------------------------------------------------

    async def _ask(self, look_up: Callable[[], StoredAnswer | None]) -> StoredAnswer | None:
        if self._resting():
            return None
        try:
            async with asyncio.timeout(self._patience_s):
                found = await self._in_thread(look_up)
        except TimeoutError:
            self._rest(f"{self._store.name}: no answer within {self._patience_s:g} s")
            return None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a store, the engine is there
            self._rest(_in_words(error))
            return None
        self._works()
        return found

    def _look_up(self, key: str) -> StoredAnswer | None:
        entry = self._store.get(key)
        if entry is None:
            return None
        try:
            answer = StoredAnswer.from_bytes(entry)
        except BadValueError:
            return None  # of another costctl, or spoilt: it will be written over
        return answer if answer.is_fresh(self._rules.ttl_s, self._clock.now().timestamp()) else None

    def _put(self, key: str, content_type: str, chunks: list[bytes]) -> bool:
        answer = complete_answer(content_type, chunks, now_s=self._clock.now().timestamp())
        if answer is not None:
            self._store.put(key, answer.to_bytes(), self._rules.ttl_s)
        return answer is not None

    def _was_put(self, size: int, put: asyncio.Future[bool]) -> None:
        self._puts.discard(put)
        self._held -= size
        if put.cancelled():
            return
        error = put.exception()
        if error is not None:
            self._rest(_in_words(error))
        elif put.result():
            self._counts.stored += 1
            self._works()

    def _in_thread(self, call: Callable[[], Result]) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._threads, call)

    def _resting(self) -> bool:
        return self._clock.monotonic() < self._rests_until

    def _rest(self, problem: str) -> None:
        self._rests_until = self._clock.monotonic() + _REST_S
        if self.problem is None:
            logger.warning("the answer cache is of no use now, requests go to the engine: %s", problem)
        self.problem = problem

    def _works(self) -> None:
        if self.problem is not None:
            logger.info("the answer cache can be used again")
        self.problem = None


async def replay(request: web.BaseRequest, answer: StoredAnswer) -> web.StreamResponse:
    """Send a stored answer: a stream as a stream, chunk by chunk."""
    headers = {"Content-Type": answer.content_type, HEADER: "hit"}
    if not answer.is_stream:
        return web.Response(body=b"".join(answer.chunks), headers=headers)
    response = web.StreamResponse(headers=headers | {"X-Accel-Buffering": "no"})
    with suppress(ConnectionResetError):  # the client has left
        await response.prepare(request)
        for chunk in answer.chunks:
            await response.write(chunk)
        await response.write_eof()
    return response


def _in_words(error: BaseException) -> str:
    return str(error) if isinstance(error, AnswerStoreError) else f"a fault of costctl's own, {type(error).__name__}"
