"""Run a command that ends with the process that started it: `python -I -S leash.py PARENT COMMAND...`.

The kernel kills it when the parent is gone, however that came; files that it makes are for its owner alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command."""
    parent, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("the process that started this is gone")
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 - an argument list without a shell


if __name__ == "__main__":
    main(sys.argv[1:])
