"""The command line; `main` is the program's entry point.

`costctl --help` and `costctl --version` are asked in a hurry, and importing click takes three times as long as starting
Python. So both are answered before that: the help from `help.txt`, which `make help-text` renders with click and a test
compares.
"""

from __future__ import annotations

import os
import sys

from costctl import __version__


def main() -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:]
    if "_COSTCTL_COMPLETE" not in os.environ:
        if arguments == ["--version"]:
            _print(f"costctl, version {__version__}\n")
        if arguments in ([], ["-h"], ["--help"]):
            with open(os.path.join(os.path.dirname(__file__), "help.txt"), encoding="ascii") as text:  # noqa: PTH118, PTH120, PTH123
                _print(text.read())
    from costctl.cli.root import run

    sys.exit(run(debug="--debug" in arguments))


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(0)
