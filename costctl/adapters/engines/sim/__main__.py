"""`python -m costctl.adapters.engines.sim`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from costctl.adapters.engines.sim.log import EngineLog
from costctl.adapters.engines.sim.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Live one life of the simulated engine; return the exit code."""
    settings = parse_settings(sys.argv[1:], os.environ)
    # Half of the start-up of this program is aiohttp: a bad command line or a call for help need not wait for it.
    from costctl.adapters.engines.sim.serve import live  # noqa: PLC0415

    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(live(settings, EngineLog()))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - the simulated engine also runs where uvloop does not
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
