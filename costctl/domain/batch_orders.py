"""What a client asks for who orders a batch over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from costctl.domain.durations import parse_duration
from costctl.domain.routes import BATCH_ENDPOINTS
from costctl.domain.stored_files import DAY_S, read_kept_s
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHORTEST_WINDOW_S, _LONGEST_WINDOW_S = 60, 30 * DAY_S
_MOST_METADATA, _LONGEST_KEY, _LONGEST_VALUE = 16, 64, 512


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchOrder:
    """What a client asked for."""

    input_file_id: str
    endpoint: str
    completion_window: str
    window_s: int
    metadata: Mapping[str, str] | None
    outputs_kept_s: int


def read_order(given: Mapping[str, Any]) -> BatchOrder:
    """Return the order in the body of a request.

    Raises:
        BadValueError: a field is missing or makes no sense.
    """
    input_file_id, endpoint = given.get("input_file_id"), given.get("endpoint")
    if not isinstance(input_file_id, str):
        raise BadValueError("input_file_id is missing: upload a file first, with the purpose batch")
    if not isinstance(endpoint, str) or endpoint not in BATCH_ENDPOINTS:
        raise BadValueError(f"endpoint is one of {', '.join(BATCH_ENDPOINTS)}")
    window = given.get("completion_window", "24h")
    return BatchOrder(
        input_file_id=input_file_id,
        endpoint=endpoint,
        completion_window=str(window),
        window_s=_window_s(window),
        metadata=_metadata(given.get("metadata")),
        outputs_kept_s=read_kept_s(given.get("output_expires_after")),
    )


def _window_s(given: object) -> int:
    seconds = int(parse_duration(given)) if isinstance(given, str) else 0
    if not _SHORTEST_WINDOW_S <= seconds <= _LONGEST_WINDOW_S:
        raise BadValueError("completion_window is a time like 24h, of at most 30d")
    return seconds


def _metadata(given: object) -> Mapping[str, str] | None:
    if given is None:
        return None
    if not isinstance(given, dict) or len(given) > _MOST_METADATA:
        raise BadValueError(f"metadata is an object with at most {_MOST_METADATA} keys")
    for key, value in given.items():
        if not isinstance(value, str) or len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
            raise BadValueError(
                f"metadata has keys of at most {_LONGEST_KEY} characters and texts of at most {_LONGEST_VALUE}"
            )
    return given
