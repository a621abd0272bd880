"""Files that people asked for: there is the whole of one, or what was there before."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from costctl.errors import CostctlError

if TYPE_CHECKING:
    from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`, in one step for whoever reads it.

    A link stays one, to what is written; a device or a pipe, like `/dev/stdout`, is written to and never replaced.

    Raises:
        CostctlError: it cannot be written; what was there is as it was.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            _replace(path.resolve(), content)
    except OSError as error:
        raise CostctlError(f"cannot write {path}: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
