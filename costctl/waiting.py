"""Wait by a clock that is passed in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costctl.ports import Clock


async def done_within(clock: Clock, future: asyncio.Future[Any], seconds: float) -> bool:
    """Return whether `future` is done within `seconds` of the clock."""
    timer = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({future, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
    return future.done()


async def set_within(clock: Clock, event: asyncio.Event, seconds: float) -> bool:
    """Return whether `event` is set within `seconds` of the clock."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        return await done_within(clock, waiting, seconds)
    finally:
        waiting.cancel()
