"""The simulated engine core: the child that holds the GPU, as `VLLM::EngineCore` does.

Run by path with a bare interpreter: `python -I core.py sim-engine-core`. Standard input carries orders, one a line:
`claim BYTES`, `busy PERCENT`, `end`; `claim` is answered with `ok` on standard output. It claims memory of the
simulated GPU by a file in the folder that COSTCTL_SIM_GPU names.

Like vLLM's, it does not notice the death of its API server: at end-of-file it lives on and keeps its claim.
Standard library only, and little of it: it starts with every engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import NoReturn


class Claim:
    """What this process holds of the simulated GPU."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder
        self.memory_bytes = 0
        self.sm_percent = 0

    def write(self) -> None:
        """Publish the claim; a reader sees the old or the new one, never half of it."""
        if self.folder is None:
            return
        os.makedirs(self.folder, exist_ok=True)  # noqa: PTH103
        path = self._path
        with open(f"{path}.part", "w") as file:  # noqa: PTH123 - pathlib costs more than all the rest of this program
            json.dump({"pid": os.getpid(), "memory_bytes": self.memory_bytes, "sm_percent": self.sm_percent}, file)
        os.replace(f"{path}.part", path)  # noqa: PTH105

    def withdraw(self) -> None:
        """Give everything back, as a clean exit does."""
        if self.folder is not None and os.path.exists(self._path):  # noqa: PTH110
            os.unlink(self._path)  # noqa: PTH108

    @property
    def _path(self) -> str:
        return f"{self.folder}/{os.getpid()}.json"


def main() -> None:
    """Obey orders until told to end, or killed."""
    # Ctrl-C goes to the whole group; a Python traceback of this child would only puzzle the reader.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    claim = Claim(os.environ.get("COSTCTL_SIM_GPU") or None)
    for line in sys.stdin.buffer:
        if not line.endswith(b"\n"):
            break  # the API server died in the middle of an order
        if line == b"end\n":
            claim.withdraw()
            return
        order, _, number = line.decode().partition(" ")
        obey(claim, order, int(number))
    live_on()


def obey(claim: Claim, order: str, number: int) -> None:
    """Carry out one order."""
    if order == "claim":
        claim.memory_bytes = number
    elif order == "busy":
        claim.sm_percent = number
    claim.write()
    if order == "claim":
        with contextlib.suppress(BrokenPipeError):
            os.write(1, b"ok\n")


def live_on() -> NoReturn:
    """Hold the claim until killed."""
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
