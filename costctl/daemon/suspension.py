"""Notice that the machine was suspended, and begin the session anew: a pause is neither billed nor idleness."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from costctl.daemon.session import Opening, open_next_session
from costctl.domain.durations import format_duration

if TYPE_CHECKING:
    from costctl.daemon.recorder import Recorder
    from costctl.ledger.store import Ledger
    from costctl.ledger.writer import LedgerWriter
    from costctl.ports import Clock

logger = logging.getLogger(__name__)

SHORTEST_S = 5.0
_FLUSH_TIMEOUT_S = 1.0


class Suspensions:
    """Looks now and then whether the machine was suspended since the last look."""

    def __init__(self, *, recorder: Recorder, writer: LedgerWriter, clock: Clock) -> None:
        self._recorder = recorder
        self._writer = writer
        self._clock = clock
        self._known_s = clock.suspended_s()
        self._opened: list[Opening] | None = None

    async def look(self) -> None:
        """Close the session if there was a suspension, and go on in another once the ledger has it."""
        suspended_s = self._clock.suspended_s()
        if self._opened is None and suspended_s - self._known_s >= SHORTEST_S:
            pause = format_duration(suspended_s - self._known_s)
            logger.warning("the machine was suspended for %s: a new session begins", pause)
            self._recorder.suspended()
            self._opened = self._open_next(self._recorder.opening)
            self._known_s = suspended_s
        if self._opened is not None and await asyncio.to_thread(self._writer.flush, _FLUSH_TIMEOUT_S):
            self._recorder.go_on(self._opened[-1])
            self._opened = None

    def _open_next(self, before: Opening) -> list[Opening]:
        """Have the next session opened by the ledger's only writer; the list is filled when that is done."""
        opened: list[Opening] = []

        def verb(ledger: Ledger) -> None:
            opened.append(open_next_session(ledger, before, clock=self._clock))

        self._writer.submit(verb)
        return opened
