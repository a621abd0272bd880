"""The answer cache before the engine: what is in it neither wakes the engine nor counts as activity.

Equal requests that are in flight at the same time are not merged: each asks the engine, which computes them side by
side. To wait for another's answer would mean to share its failure, and to see nothing of a stream until its end.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from costctl.daemon.frontdoor.copies import CACHE_HEADER, Copies, Copy
from costctl.daemon.frontdoor.guarded_store import PATIENCE_S, GuardedStore
from costctl.domain.caching import Question, Wish, read_question
from costctl.domain.lifecycle import EngineState, Lifecycle
from costctl.domain.stored_answers import StoredAnswer, complete_answer
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from costctl.domain.caching import CacheRules
    from costctl.domain.stored_answers import Tokens
    from costctl.ports import AnswerStore, Clock

_REVISION_GOOD_S = 10.0
"""How long the name of an engine that is not up is good: another may lie on the disk meanwhile."""


class CacheBook(Protocol):
    """Where it is counted what the cache was good for."""

    def answer_found(self, model: str, tokens: Tokens) -> None:
        """An answer of so many tokens came from the cache."""
        ...

    def answer_missed(self, model: str) -> None:
        """The cache was asked in vain."""
        ...


@dataclass(slots=True)
class _Counts:
    hits: int = 0
    misses: int = 0
    stored: int = 0
    saved_tokens: int = 0


class AnswerCache:
    """Looks for answers and keeps new ones; on the event loop, all but the store's own calls."""

    def __init__(
        self,
        *,
        store: AnswerStore,
        rules: CacheRules,
        revision: Callable[[], str],
        book: CacheBook,
        model: str,
        clock: Clock,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._store = GuardedStore(store, clock=clock, patience_s=patience_s)
        self._rules = rules
        self._read_revision = revision
        self._revision, self._read_at = revision(), clock.monotonic()
        self._engine_is_up = False
        self._book = book
        self._model = model
        self._clock = clock
        self._copies = Copies()
        self._counts = _Counts()

    def lifecycle_changed(self, before: Lifecycle, after: Lifecycle) -> None:
        """Name the engine anew when one has become ready: it may have fetched other weights (a listener)."""
        self._engine_is_up = after.state is EngineState.READY
        if self._engine_is_up and before.state is not EngineState.READY:
            self._name_engine()

    def question(self, request: web.BaseRequest, body: bytes) -> Question | None:
        """Return what a request asks, None if the cache has no part in it."""
        if not self._engine_is_up and self._clock.monotonic() - self._read_at >= _REVISION_GOOD_S:
            self._name_engine()
        wish = Wish.read(request.headers.get(CACHE_HEADER), request.headers.get("Cache-Control"))
        return read_question(request.raw_path, body, rules=self._rules, wish=wish, revision=self._revision)

    def _name_engine(self) -> None:
        self._revision, self._read_at = self._read_revision(), self._clock.monotonic()

    async def find(self, question: Question) -> StoredAnswer | None:
        """Return the answer to a question, None if there is none that may be given."""
        if not question.looks:
            return None
        found = await self._store.ask(partial(self._look_up, question.key))
        if found is None:
            self._counts.misses += 1
            self._book.answer_missed(self._model)
            return None
        self._counts.hits += 1
        self._counts.saved_tokens += found.tokens.prompt + found.tokens.generation
        self._book.answer_found(self._model, found.tokens)
        return found

    def copy_for(self, question: Question) -> Copy:
        """Return what takes in the engine's answer to a question, and keeps it."""
        return Copy(self._copies, partial(self._keep, question))

    async def close(self) -> None:
        """Let go of the store."""
        await self._store.close()

    # --- for people ----------------------------------------------------------------------------------------------

    @property
    def problem(self) -> str | None:
        """What is wrong with it now, and what follows from that."""
        return self._store.problem

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
        held = await self._store.insist(lambda store: store.content())
        return {"is_on": True} | self.status() | asdict(held)

    async def clear(self) -> int:
        """Drop all answers and return how many, and use the store again. Raises AnswerStoreError."""
        dropped = await self._store.insist(lambda store: store.clear())
        self._store.try_again()
        return dropped

    # --- in the store's threads ----------------------------------------------------------------------------------

    def _look_up(self, key: str, store: AnswerStore) -> StoredAnswer | None:
        entry = store.get(key)
        if entry is None:
            return None
        try:
            answer = StoredAnswer.from_bytes(entry)
        except BadValueError:
            return None  # of another costctl, or spoilt: it will be written over
        return answer if answer.is_fresh(self._rules.ttl_s, self._clock.now().timestamp()) else None

    def _keep(self, question: Question, content_type: str, chunks: Sequence[bytes]) -> None:
        """Keep an answer if it is complete, and of the engine that was asked; nobody waits for it."""
        if not self._store.may_keep or question.revision != self._revision:
            return
        size = sum(map(len, chunks))
        self._copies.take(size)

        def put(store: AnswerStore) -> bool:
            answer = complete_answer(content_type, chunks, now_s=self._clock.now().timestamp())
            if answer is not None:
                store.put(question.key, answer.to_bytes(), self._rules.ttl_s)
            return answer is not None

        def count(was_kept: bool) -> None:  # noqa: FBT001 - the result of `put`
            self._copies.give_back(size)
            self._counts.stored += was_kept

        self._store.behind(put, count)
