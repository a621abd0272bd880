"""The phases of a session, put together from spans."""

from costctl.domain.instants import microseconds_of
from costctl.domain.sessions import PhaseColumns


def columns(spans):
    """Return spans that follow each other as a session has them."""
    if not spans:
        return PhaseColumns()
    edges = [span.started_at for span in spans] + [spans[-1].ended_at]
    return PhaseColumns(
        edges=tuple(map(microseconds_of, edges)),
        phases=tuple(span.phase for span in spans),
        runs=tuple(span.run for span in spans),
    )
