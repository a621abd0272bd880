"""Files that clients of the front door keep here: what they uploaded, and what their batches gave."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

DAY_S = 86_400
KEPT_S = 30 * DAY_S
"""How long files are kept if nobody says otherwise, as with OpenAI."""
_SHORTEST_KEPT_S = 3600
_LONGEST_NAME = 255
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Purpose(StrEnum):
    """What a file is for."""

    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """One file; instants in seconds since 1970. Ids grow with time."""

    id: str
    filename: str
    size_bytes: int
    purpose: str
    created_at: int
    expires_at: int

    def as_json(self) -> dict[str, Any]:
        """Return it as it is kept."""
        return asdict(self)

    def as_openai(self) -> dict[str, Any]:
        """Return OpenAI's file object."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


class Identified(Protocol):
    """What has an id that grows with time."""

    @property
    def id(self) -> str:
        """The id."""
        ...


Item = TypeVar("Item", bound=Identified)


def page(items: Iterable[Item], *, after: str | None, limit: int, ascending: bool = False) -> tuple[list[Item], bool]:
    """Return the first `limit` items behind the one called `after`, newest first, and whether more follow.

    That one may be gone by now: the order is that of ids.
    """
    ordered = sorted(items, key=lambda item: item.id, reverse=not ascending)
    if after is not None:
        ordered = [item for item in ordered if (item.id > after if ascending else item.id < after)]
    return ordered[:limit], len(ordered) > limit


def safe_filename(given: str) -> str:
    """Return a name to show: the last part of a path, without control characters; it is never used as a path."""
    name = _UNSHOWN.sub("", re.split(r"[/\\]", given)[-1]).strip()[-_LONGEST_NAME:]
    return "upload" if name in {"", ".", ".."} else name


def read_kept_s(given: object) -> int:
    """Return for how many seconds a file is kept, from OpenAI's `expires_after`.

    Raises:
        BadValueError: it is none, or not between an hour and 30 days.
    """
    if given is None:
        return KEPT_S
    if not isinstance(given, dict) or given.get("anchor") != "created_at":
        raise BadValueError("expires_after has the anchor created_at, and seconds")
    try:
        seconds = int(str(given.get("seconds")))
    except ValueError:
        seconds = 0
    if not _SHORTEST_KEPT_S <= seconds <= KEPT_S:
        raise BadValueError(f"expires_after is between {_SHORTEST_KEPT_S} and {KEPT_S} seconds")
    return seconds
