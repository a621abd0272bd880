"""Files that people asked for: there is the whole of one, or what was there before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from costctl.errors import CostctlError

if TYPE_CHECKING:
    from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`, in one step for whoever reads it.

    Raises:
        CostctlError: it cannot be written; what was there is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CostctlError(f"cannot write {path}: {error.strerror}") from error
