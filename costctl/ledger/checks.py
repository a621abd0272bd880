"""Questions that a consistent ledger answers with nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

_EXAMPLES = 5

# What is wrong, and the query for the sessions (or machines) of which it is true.
_QUESTIONS = {
    "known for less than nothing: the last heartbeat is before the start": (
        "SELECT id FROM sessions WHERE heartbeat_at < started_at"
    ),
    "ended, but not where it is known until": "SELECT id FROM sessions WHERE ended_at <> heartbeat_at",
    "ended without a reason, or a reason without an end": (
        "SELECT id FROM sessions WHERE (ended_at IS NULL) <> (end_reason IS NULL)"
    ),
    "a price without its currency, source or date, or the other way round": (
        "SELECT id FROM sessions WHERE (price_micros_per_hour IS NULL) <> (currency IS NULL)"
        " OR (price_micros_per_hour IS NULL) <> (price_source IS NULL)"
        " OR (price_micros_per_hour IS NULL) <> (price_dated IS NULL) OR price_micros_per_hour <= 0"
    ),
    "no phase begins with the session": (
        "SELECT id FROM sessions s WHERE NOT EXISTS"
        " (SELECT 1 FROM phases p WHERE p.session_id = s.id AND p.started_at = s.started_at)"
    ),
    "a phase begins outside of the session": (
        "SELECT DISTINCT s.id FROM sessions s JOIN phases p ON p.session_id = s.id"
        " WHERE p.started_at < s.started_at OR p.started_at > s.heartbeat_at"
    ),
    "a phase names an engine run that is not there": (
        "SELECT DISTINCT p.session_id FROM phases p WHERE p.run IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM engine_runs r WHERE r.session_id = p.session_id AND r.number = p.run)"
    ),
    "an engine run ended before it started or was ready": (
        "SELECT DISTINCT session_id FROM engine_runs"
        " WHERE ready_at < started_at OR ended_at < started_at OR ended_at < ready_at"
    ),
    "an engine run ended without an outcome, or an outcome without an end": (
        "SELECT DISTINCT session_id FROM engine_runs WHERE (ended_at IS NULL) <> (outcome IS NULL)"
    ),
    "an engine run is open, though the session has ended": (
        "SELECT DISTINCT s.id FROM sessions s JOIN engine_runs r ON r.session_id = s.id"
        " WHERE s.ended_at IS NOT NULL AND r.ended_at IS NULL"
    ),
    "usage below nothing": (
        "SELECT DISTINCT session_id FROM usage_hours WHERE requests < 0 OR prompt_tokens < 0 OR generation_tokens < 0"
    ),
    "a batch ended before it began, or did less than nothing": (
        "SELECT DISTINCT session_id FROM batches WHERE ended_at < started_at OR requests < failed_requests"
        " OR failed_requests < 0 OR prompt_tokens < 0 OR generation_tokens < 0"
    ),
    "a batch ended without an outcome, or an outcome without an end": (
        "SELECT DISTINCT session_id FROM batches WHERE (ended_at IS NULL) <> (outcome IS NULL)"
    ),
    "a batch is open, though the session has ended": (
        "SELECT DISTINCT s.id FROM sessions s JOIN batches b ON b.session_id = s.id"
        " WHERE s.ended_at IS NOT NULL AND b.ended_at IS NULL"
    ),
    "a GPU used by less than 0 or more than 100 percent, or with negative memory or power": (
        "SELECT DISTINCT session_id FROM gpu_minutes WHERE utilisation_percent < 0 OR utilisation_percent > 100"
        " OR memory_used_bytes < 0 OR power_milliwatts < 0"
    ),
}
_TWO_OPEN = (
    "SELECT i.machine FROM sessions s JOIN instances i ON i.id = s.instance_id"
    " WHERE s.ended_at IS NULL GROUP BY i.machine HAVING count(*) > 1"
)


def problems(connection: Connection) -> Iterator[str]:
    """Yield what is wrong with the ledger, in words."""
    for words, question in _QUESTIONS.items():
        found = sorted(connection.execute(text(question)).scalars())
        if found:
            more = f" and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else ""
            yield f"session {', '.join(str(session_id) for session_id in found[:_EXAMPLES])}{more}: {words}"
    for machine in connection.execute(text(_TWO_OPEN)).scalars():
        yield f"machine {machine}: more than one session is open"
