"""Why an engine did not start, or died: the cause in its log, in words, and what to do about it.

The root cause stands earlier in vLLM's log than its last line ("Engine core initialization failed. See root cause
above"), often by a hundred lines: hand over the last 400 or so. The wording is that of vLLM 0.21 and 0.32, of
huggingface_hub and of torch.
"""

from __future__ import annotations

import re
import signal as signals
from dataclasses import dataclass
from typing import TYPE_CHECKING

from costctl.domain.failures import AFTER_READY, MORE_SHARED_MEMORY, RULES, FailureKind, Words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What happened, what to do, the log lines that say so, and engine arguments that would help."""

    kind: FailureKind
    summary: str
    advice: str
    evidence: tuple[str, ...] = ()
    suggested_args: tuple[str, ...] = ()


def diagnose(lines: Sequence[str], *, exit_code: int | None, signal: int | None, ready: bool) -> Diagnosis:
    """Explain the end of an engine from its last log lines and from how its process ended.

    `ready` tells whether it had been serving; `signal` is the one that killed it, if one did.
    """
    said = [clean for line in lines if (clean := _cleaned(line)) is not None]
    for rule in RULES:
        if ready and rule.kind not in AFTER_READY:
            continue
        if matches := [found for line in said if (found := rule.pattern.search(line))]:
            words = rule.tell(matches[-1], lines)
            return _told(rule.kind, words, _distinct(found.string for found in matches))
    if exit_code == 0 and any(_TOLD_TO_STOP in line for line in lines):
        return _stopped()
    return _from_the_end(said, exit_code=exit_code, signal=signal, ready=ready)


# --- reading lines ---------------------------------------------------------------------------------------------------

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(r"^\((?:APIServer|EngineCore|ApiServer|Worker|VllmWorker)[^()]{0,40} pid=\d+\) ?")
_RECORD = re.compile(r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \[[^\]]{0,120}\] ?")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Timeout)(?:: .*)?$")
# Exceptions that only pass on that another process failed.
_CONSEQUENCE = re.compile(
    r"See root cause above|See stack trace for root cause|EngineDeadError|EngineCore encountered an issue"
    r"|CancelledError|KeyboardInterrupt|SystemExit"
)
_LONGEST = 2000
_SHOWN = 300


def _cleaned(line: str) -> str | None:
    """Return the line without colour, process and record prefixes; None if it cannot be evidence.

    Records below ERROR are no evidence: a start-up warning of vLLM's quotes an `OSError` that never happened. Nor is
    the source code in a traceback.
    """
    text = _PREFIX.sub("", _COLOUR.sub("", line[:_LONGEST]).strip("\r\n"))
    record = _RECORD.match(text)
    if record is not None and record[1] not in {"ERROR", "CRITICAL"}:
        return None
    text = text[record.end() :] if record else text
    if text.startswith(("    ", '  File "')):
        return None
    return _UNPRINTABLE.sub("", text).strip() or None


def _distinct(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the last three different lines, each cut to what a person will read."""
    return tuple(dict.fromkeys(line[:_SHOWN] for line in lines))[-3:]


# --- how it ended ----------------------------------------------------------------------------------------------------

_TOLD_TO_STOP = "[shutdown] API server: shutdown triggered"
_CHILD_KILLED = re.compile(r"Failed core proc\(s\): \{[^}]*: -(?P<signal>\d{1,3})\}")
_CORE_DIED = re.compile(
    r"EngineDeadError|EngineCore encountered an issue|Engine core proc \S+ died|See root cause above"
)
_BY_SIGNAL = {
    signals.SIGKILL: (
        FailureKind.HOST_OUT_OF_MEMORY,
        "the engine was killed (signal 9), most likely by the kernel because the machine's memory ran out",
        "look for 'Out of memory' in dmesg; use a machine with more RAM, or a smaller model",
    ),
    signals.SIGBUS: (
        FailureKind.SHARED_MEMORY_TOO_SMALL,
        "the engine was killed (signal 7), most likely because the shared memory folder is too small",
        MORE_SHARED_MEMORY,
    ),
}


def _from_the_end(said: Sequence[str], *, exit_code: int | None, signal: int | None, ready: bool) -> Diagnosis:
    """Explain an end that no rule explains: by a signal, by the last exception, or by the exit code."""
    children = [found for line in said if (found := _CHILD_KILLED.search(line))]
    killed_by = signal or (int(children[-1]["signal"]) if children else None)
    if killed_by is not None:
        return _by_signal(killed_by, _distinct(found.string for found in children))
    causes = _distinct(line for line in said if _EXCEPTION.match(line) and not _CONSEQUENCE.search(line))
    if causes:
        return _unknown(causes[-1:], f"the engine {'failed' if ready else 'did not start'}: {causes[-1]}")
    deaths = _distinct(line for line in said if _CORE_DIED.search(line))
    if deaths:
        return _core_died(deaths)
    if exit_code == 0:
        return _exited_zero(ready=ready)
    ended = "ended" if exit_code is None else f"ended with exit code {exit_code}"
    return _unknown(_distinct(said), f"the engine {ended} and did not say why")


def _told(kind: FailureKind, words: Words, evidence: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        kind=kind,
        summary=words.summary,
        advice=words.advice,
        evidence=evidence,
        suggested_args=words.args,
    )


def _by_signal(number: int, evidence: tuple[str, ...]) -> Diagnosis:
    if number in _BY_SIGNAL:
        kind, summary, advice = _BY_SIGNAL[signals.Signals(number)]
        return Diagnosis(kind=kind, summary=summary, advice=advice, evidence=evidence)
    if number in {signals.SIGTERM, signals.SIGINT, signals.SIGHUP}:
        return _stopped(f" (signal {number})")
    return _unknown(evidence, f"the engine was killed by signal {number}")


def _stopped(how: str = "") -> Diagnosis:
    return Diagnosis(
        kind=FailureKind.STOPPED,
        summary=f"the engine was told to stop{how}",
        advice="nothing is wrong with it; it can be started again",
    )


def _core_died(evidence: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        kind=FailureKind.ENGINE_CORE_DIED,
        summary="the engine core died without a word, most likely killed for the machine's memory",
        advice="look for 'Out of memory' and 'Xid' in dmesg",
        evidence=evidence,
    )


def _exited_zero(*, ready: bool) -> Diagnosis:
    when = "while it was serving" if ready else "before it was ready"
    return Diagnosis(
        kind=FailureKind.EXITED_ZERO,
        summary=f"the engine ended with exit code 0 {when}, without a word",
        advice="vLLM ends like this when its engine core died, too: look for 'Out of memory' in dmesg",
    )


def _unknown(evidence: tuple[str, ...], summary: str) -> Diagnosis:
    return Diagnosis(
        kind=FailureKind.UNKNOWN,
        summary=summary[:_SHOWN],
        advice="read the last lines of the engine's log",
        evidence=evidence,
    )
