"""What shapes an engine's answers, as one name: another command line, or other weights, make another."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costctl.adapters.model_config import hub_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costctl.ports import Engine

_NO_PART = frozenset(("runtime_folder", "claims_folder", "health_path"))


def engine_revision(engine: Engine, environ: Mapping[str, str]) -> str:
    """Return a name for the engine with its command line, its program, and its model as it lies on the disk now.

    The model's own files are told by their sizes and times, and one of the Hugging Face cache by its commit.
    """
    described: Any = engine  # every kind is a dataclass
    facts = {item.name: getattr(described, item.name) for item in fields(described) if item.name not in _NO_PART}
    words = [word for value in facts.values() for word in (value if isinstance(value, tuple) else (value,))]
    known = [facts, [list(_identities(word, environ)) for word in words if isinstance(word, str)]]
    return hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()[:16]


def _identities(word: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int, int] | str]:
    """Yield what is known of a model or a file, if `word` names one."""
    try:
        path = Path(word)
        if path.is_dir():
            yield from (_state(file) for file in sorted(path.iterdir()) if file.is_file())
        elif path.is_file():
            yield _state(path)
        elif (hub := hub_folder(word, environ)) is not None:
            yield from (f"{ref.name} {ref.read_text()}" for ref in sorted((hub / "refs").glob("*")))
    except (OSError, ValueError):  # too long for a path, a null byte, not ours to read: then it is only a word
        return


def _state(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns
