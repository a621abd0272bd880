"""What phases, reasons, periods and machines are called in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from costctl.domain.periods import PeriodKind
from costctl.domain.sessions import EndReason, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from costctl.domain.periods import Period
    from costctl.domain.sessions import Instance
    from costctl.reports.wording import Wording


def phase_names(words: Wording) -> Mapping[Phase, str]:
    """Return what every phase is called."""
    return {
        Phase.STARTING: words.say("starting"),
        Phase.BUSY: words.say("busy"),
        Phase.IDLE: words.say("idle"),
        Phase.ASLEEP: words.say("asleep"),
        Phase.OFF: words.say("off"),
        Phase.STOPPING: words.say("stopping"),
        Phase.UNKNOWN: words.say("unknown"),
    }


def reason_name(reason: EndReason | None, words: Wording) -> str:
    """Return why a session ended; None is that it has not, or not in the period."""
    return {
        None: words.say("went on"),
        EndReason.IDLE: words.say("idle"),
        EndReason.STOPPED: words.say("stopped"),
        EndReason.LOST: words.say("lost"),
        EndReason.SUSPENDED: words.say("suspended"),
    }[reason]


def period_name(period: Period, words: Wording) -> str:
    """Return what the label of a period says."""
    if period.kind is PeriodKind.LAST:
        return words.say("last {length}", length=period.label.removeprefix("last "))
    begin, _, end = period.label.partition(" to ")
    return words.say("{begin} to {end}", begin=begin, end=end) if end else begin


def gpu_name(instance: Instance) -> str:
    """Return the GPUs of `instance` in short."""
    name = (instance.gpu or "-").removeprefix("NVIDIA ")
    return f"{instance.gpu_count}x {name}" if instance.gpu_count > 1 else name
