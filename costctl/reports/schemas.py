"""The JSON Schemas of what costctl prints for programs, each with all that it refers to."""

from __future__ import annotations

import json
from typing import Any

from costctl.resources import folder

_PARTS = {"report-1": ("comparison-1",), "comparison-1": ()}
"""Schemas by name, with those they refer to."""


def schema(name: str) -> dict[str, Any]:
    """Return the schema `name`; those it refers to are bundled into its definitions, where their `$id` is found."""
    found = _read(name)
    found["$defs"] |= {part: _read(part) for part in _PARTS[name]}
    return found


def schema_text(name: str) -> str:
    """Return the schema `name` as JSON."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder("schemas") / f"{name}.json").read_text(encoding="utf-8"))
    return content
