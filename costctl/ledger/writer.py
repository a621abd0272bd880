"""The one thread that writes the ledger while the daemon runs, so that a slow disk never holds up a request."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from costctl.errors import CostctlError, LedgerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from costctl.ledger.store import Ledger

    Verb = Callable[[Ledger], object]
    # Waits for the event, or so many seconds.
    Pause = Callable[[threading.Event, float], object]

_log = logging.getLogger(__name__)
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_AT_ONCE = 500


class _Job(NamedTuple):
    verb: Verb
    key: str | None


def _wait(wake: threading.Event, seconds: float) -> None:
    wake.wait(seconds)


class LedgerWriter:
    """Runs verbs in their order, as many as are waiting in one transaction.

    While the ledger is unavailable they are kept and tried again, after pauses that grow from half a second to half
    a minute. A verb may therefore run more than once, and should do nothing but write. One that fails for another
    reason is logged and left out.
    """

    def __init__(self, ledger: Ledger, *, bound: int = 10_000, pause: Pause = _wait) -> None:
        self._ledger = ledger
        self._bound = bound
        self._pause = pause
        self._changed = threading.Condition()
        self._retry_now = threading.Event()
        self._waiting: deque[_Job] = deque()
        self._in_hand: list[_Job] = []
        self._problem: str | None = None
        self._dropped = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """How many verbs are not yet in the ledger."""
        with self._changed:
            return len(self._waiting) + len(self._in_hand)

    @property
    def dropped(self) -> int:
        """How many verbs never got into the ledger: they failed, or there was no room to keep them."""
        with self._changed:
            return self._dropped

    @property
    def problem(self) -> str | None:
        """Why the ledger cannot be written at present; None if it can."""
        with self._changed:
            return self._problem

    def submit(self, verb: Verb, *, key: str | None = None) -> None:
        """Have `verb` run after those submitted before; never blocks, never raises.

        A verb with a `key` takes the place of a waiting one with the same key, which is not run: for verbs like a
        heartbeat, of which only the last matters.
        """
        with self._changed:
            if key is not None:
                self._withdraw(key)
            if self._closing or len(self._waiting) + len(self._in_hand) >= self._bound:
                self._drop("the ledger's writer is closed" if self._closing else "too many writes wait for the ledger")
                return
            self._waiting.append(_Job(verb, key))
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Try now to write what waits; return whether all of it was written, or had to be dropped, in time."""
        self._retry_now.set()
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._in_hand, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Write what waits and end the thread; return whether all was written in time. The rest is lost."""
        written = self.flush(timeout_s)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._retry_now.set()
        if written:
            self._thread.join(timeout_s)
        return written

    def _withdraw(self, key: str) -> None:
        # Found near the end, where heartbeats are: they are submitted more often than anything else.
        for position in range(len(self._waiting) - 1, -1, -1):
            if self._waiting[position].key == key:
                del self._waiting[position]
                return

    def _drop(self, why: str) -> None:
        self._dropped += 1
        if self._dropped & (self._dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th, ...: enough to notice, not to flood
            _log.warning("%s: %d so far will be missing from it", why, self._dropped)

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while self._take():
            try:
                self._write()
            except LedgerUnavailableError as error:
                self._put_back(str(error))
                self._pause(self._retry_now, pause_s)
                self._retry_now.clear()
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._done()
                pause_s = _FIRST_PAUSE_S

    def _take(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if self._closing and (self._problem or not self._waiting):
                return False
            count = min(len(self._waiting), _AT_ONCE)
            self._in_hand = [self._waiting.popleft() for _ in range(count)]
            return True

    def _write(self) -> None:
        """Run the verbs in hand in one transaction, again without the one that fails, until none does."""
        jobs = list(self._in_hand)
        while jobs:
            job = jobs[0]
            try:
                with self._ledger.transaction():
                    for job in jobs:
                        job.verb(self._ledger)
            except LedgerUnavailableError:
                raise
            except Exception as error:  # noqa: BLE001 - the outermost loop of the thread: no verb may end it
                unexpected = not isinstance(error, CostctlError)
                _log.error("a write to the ledger failed and is left out: %s", error, exc_info=unexpected)
                jobs.remove(job)
                self._leave_out(job)
            else:
                return

    def _leave_out(self, job: _Job) -> None:
        with self._changed:
            self._in_hand.remove(job)
            self._dropped += 1

    def _put_back(self, problem: str) -> None:
        with self._changed:
            if self._problem is None:
                _log.warning("%s; %d writes wait for it", problem, len(self._waiting) + len(self._in_hand))
            self._problem = problem
            self._waiting.extendleft(reversed(self._in_hand))
            self._in_hand = []

    def _done(self) -> None:
        with self._changed:
            if self._problem is not None:
                _log.warning("the ledger can be written again")
            self._problem = None
            self._in_hand = []
            self._changed.notify_all()
