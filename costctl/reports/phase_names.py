"""What the phases are called in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.domain.sessions import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.reports.wording import Wording


def phase_names(words: Wording) -> Mapping[Phase, str]:
    """Return the name of every phase."""
    return {
        Phase.BUSY: words.say("busy"),
        Phase.STARTING: words.say("starting"),
        Phase.IDLE: words.say("idle"),
        Phase.ASLEEP: words.say("asleep"),
        Phase.OFF: words.say("off"),
        Phase.STOPPING: words.say("stopping"),
        Phase.UNKNOWN: words.say("unknown"),
    }
