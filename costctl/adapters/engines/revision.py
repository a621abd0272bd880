"""What shapes an engine's answers, as one name: other software, settings or weights make another.

Where two machines run the same they get the same name, so that they can share a cache. Secrets in the environment have
no part in it, not even hashed: they change no answer, and a new one would lose all that is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costctl.adapters.model_config import hub_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from costctl.ports import Engine

_NO_PART = frozenset(("runtime_folder", "claims_folder", "health_path", "program"))
_SETTING = re.compile(r"(VLLM|CUBLAS|SGLANG|LLAMA_ARG|NVIDIA_TF32|TORCH_ALLOW)_\w+")
_NO_SETTING = re.compile(
    r"\w+_(KEY|TOKEN|SECRET|PASSWORD)|VLLM_(PORT|HOST_IP|\w+_(ROOT|BASE_PATH)|LOGGING_\w+|\w*USAGE_\w+|DO_NOT_TRACK)"
)
"""Secrets, places, and what only says how much is told to whom."""
_PART = re.compile(r"[^\s\"'=,]+")
"""Of a word such as `--chat-template=FILE`, `NAME=FOLDER` or JSON, what may name a file or a model."""


def engine_revision(engine: Engine, environ: Mapping[str, str]) -> str:
    """Return a name for the engine with its command line, software and settings, and its model as it lies here now.

    The model's own files, and all that are named on the command line, are told by their sizes and times; a model, or an
    adapter, of the Hugging Face cache by its commit.
    """
    described: Any = engine  # every kind is a dataclass
    facts = {item.name: getattr(described, item.name) for item in fields(described) if item.name not in _NO_PART}
    settings = {name: environ[name] for name in sorted(environ) if _shapes(name)}
    words = [word for value in facts.values() for word in (value if isinstance(value, tuple) else (value,))]
    named = [list(_identities(word, environ)) for word in (*words, *settings.values()) if isinstance(word, str)]
    program = getattr(engine, "program", ()) or getattr(engine, "command", ())
    known = [facts, settings, named, _software(program[0], program[1:], environ) if program else None]
    return hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()[:16]


def _shapes(name: str) -> bool:
    """Return whether a variable of the environment may change answers."""
    return bool(_SETTING.fullmatch(name)) and not _NO_SETTING.fullmatch(name)


def _software(program: str, more: tuple[str, ...], environ: Mapping[str, str]) -> list[Any]:
    """Return the Python packages beside a program, which say which vLLM it is; of anything else its file as well."""
    found = Path(shutil.which(program, path=environ.get("PATH")) or program)
    beside = {place.parent.parent for place in (found, found.resolve())}  # a link, or an environment's interpreter
    packages = {info.name for folder in beside for info in folder.glob("lib/python3*/*-packages/*.dist-info")}
    if any(name.startswith("vllm") for name in packages):
        return [sorted(packages), more]
    return [sorted(packages), more, program, *_identities(str(found), environ)]


def _identities(word: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int, int] | str]:
    """Yield what is known of models and files that `word` names."""
    for name in dict.fromkeys((word, *_PART.findall(word))):
        try:
            yield from _identity(name, environ)
        except (OSError, ValueError):  # too long for a path, a null byte, not ours to read: then it is only a word
            continue


def _identity(name: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int, int] | str]:
    path = Path(name)
    if path.is_dir():
        yield from (_state(file) for file in sorted(path.iterdir()) if file.is_file())
    elif path.is_file():
        yield _state(path)
    elif (hub := hub_folder(name, environ)) is not None:
        yield from (f"{ref.name} {ref.read_text()}" for ref in sorted((hub / "refs").glob("*")) if ref.is_file())


def _state(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return file.name, status.st_size, status.st_mtime_ns
