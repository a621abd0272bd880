"""`python -m costctl.adapters.engines.sim`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from costctl.adapters.engines.sim.log import EngineLog
from costctl.adapters.engines.sim.serve import live
from costctl.adapters.engines.sim.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> int:
    """Live one life of the simulated engine; return the exit code."""
    settings = parse_settings(sys.argv[1:], os.environ)
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
