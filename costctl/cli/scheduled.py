"""`python -m costctl.cli.scheduled FILE ARGUMENTS...`: costctl, whose exit code is left in FILE.

Who started it may be gone when it ends, and then nobody else would know how it ended.
"""

from __future__ import annotations

import sys
from pathlib import Path

from costctl.cli import main


def leave_exit_code() -> None:
    """Run the command line, and leave its exit code in the file that is its first argument."""
    file = Path(sys.argv.pop(1))
    try:
        main()
    except SystemExit as end:
        file.write_text(f"{end.code or 0}\n")
        raise


if __name__ == "__main__":
    leave_exit_code()
