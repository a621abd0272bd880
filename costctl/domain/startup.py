"""What a starting engine is doing, read from its log: the phases that a person waits for, and facts worth keeping.

The wording is vLLM's, of the 0.21 and 0.32 lines. Lines that say nothing of these are passed over by plain substring
tests, a few microseconds each.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum


class StartPhase(StrEnum):
    """What a start is waiting for, in the order in which it happens."""

    IMPORTS = "imports"
    """Python imports, in the server and again in the engine core, and the set-up of the device."""
    DOWNLOAD = "download"
    """Weights come over the network; known only in hindsight, since vLLM reports no progress."""
    WEIGHTS = "weights"
    COMPILE = "compile"
    """torch.compile, or loading what it made the last time."""
    PROFILE = "profile"
    """A trial run measures memory, then the KV cache takes what is left."""
    GRAPHS = "graphs"
    """CUDA graphs are captured."""
    SERVING = "serving"
    """The engine is up; the HTTP server comes up."""


_ORDER = {phase: place for place, phase in enumerate(StartPhase)}

# What a line says when a phase has begun (or, for a download, has ended).
_SIGNS = (
    ("Time spent downloading weights", StartPhase.DOWNLOAD),
    ("Starting to load model", StartPhase.WEIGHTS),
    ("Starting torch.compile", StartPhase.COMPILE),
    ("for vLLM's torch.compile", StartPhase.COMPILE),
    ("Dynamo bytecode transform", StartPhase.COMPILE),
    ("Directly load the compiled graph", StartPhase.COMPILE),
    ("Directly load AOT compilation", StartPhase.COMPILE),
    ("Compiling a graph for", StartPhase.COMPILE),
    ("saved AOT compiled function", StartPhase.COMPILE),
    ("Compiling model again", StartPhase.COMPILE),
    ("Warming up model for the compilation", StartPhase.COMPILE),
    ("torch.compile took", StartPhase.PROFILE),
    ("nitial profiling/warmup run", StartPhase.PROFILE),
    ("Model loading took", StartPhase.PROFILE),
    ("Available KV cache memory", StartPhase.PROFILE),
    ("KV cache size: ", StartPhase.PROFILE),
    ("Maximum concurrency for", StartPhase.PROFILE),
    ("Capturing CUDA graphs", StartPhase.GRAPHS),
    ("Graph capturing finished", StartPhase.GRAPHS),
    ("init engine (profile", StartPhase.SERVING),
    ("Supported tasks: ", StartPhase.SERVING),
    ("Starting vLLM server", StartPhase.SERVING),
    ("Starting vLLM API server", StartPhase.SERVING),
    ("Application startup complete", StartPhase.SERVING),
)
_FRESH_COMPILE = re.compile(r"Compiling a graph for|Compiling model again|saved AOT compiled function")
_CACHED_COMPILE = re.compile(r"Directly load (?:the compiled graph|AOT compilation)")
_KV_TOKENS = re.compile(r"KV cache size: (\d[\d,]{0,20}) tokens")
_CONCURRENCY = re.compile(r"Maximum concurrency for [\d,]+ tokens per request: (\d{1,12}(?:\.\d{1,6})?)x")
_MODEL_MEMORY = re.compile(r"Model loading took (\d{1,9}(?:\.\d{1,9})?) GiB")


@dataclass(frozen=True, kw_only=True, slots=True)
class StartTrack:
    """One start as far as its log has told; `marks` are the phases and the seconds since launch when each began."""

    marks: tuple[tuple[StartPhase, float], ...] = ((StartPhase.IMPORTS, 0.0),)
    kv_cache_tokens: int | None = None
    max_concurrency: float | None = None
    model_memory_gib: float | None = None
    compile_cached: bool | None = None

    @property
    def phase(self) -> StartPhase:
        """What the start is waiting for now."""
        return self.marks[-1][0]


def observe(track: StartTrack, line: str, at_s: float) -> StartTrack:
    """Return `track` with what one log line says, read `at_s` seconds after the launch."""
    phase = next((phase for sign, phase in _SIGNS if sign in line), None)
    if phase is None:
        return track
    track = _entered(_with_facts(track, line), phase, at_s)
    # The one line about a download comes when it is over.
    return _entered(track, StartPhase.WEIGHTS, at_s) if phase is StartPhase.DOWNLOAD else track


def breakdown(track: StartTrack, ready_at_s: float) -> dict[str, float]:
    """Return the seconds that each phase took, in order; they add up to `ready_at_s`."""
    starts = [min(at_s, ready_at_s) for _, at_s in track.marks]
    ends = [*starts[1:], ready_at_s]
    return {phase.value: end - start for (phase, _), start, end in zip(track.marks, starts, ends, strict=True)}


def _entered(track: StartTrack, phase: StartPhase, at_s: float) -> StartTrack:
    """Move on to `phase`; a sign of the phase just before the current one names the current stretch anew."""
    current, since_s = track.marks[-1]
    if _ORDER[phase] > _ORDER[current]:
        return replace(track, marks=(*track.marks, (phase, max(at_s, since_s))))
    named_too_early = _ORDER[phase] == _ORDER[current] - 1 and phase not in {seen for seen, _ in track.marks}
    if named_too_early and phase in {StartPhase.DOWNLOAD, StartPhase.COMPILE}:
        return replace(track, marks=(*track.marks[:-1], (phase, since_s)))
    return track


def _with_facts(track: StartTrack, line: str) -> StartTrack:
    if found := _KV_TOKENS.search(line):
        track = replace(track, kv_cache_tokens=int(found[1].replace(",", "")))
    if found := _CONCURRENCY.search(line):
        track = replace(track, max_concurrency=float(found[1]))
    if found := _MODEL_MEMORY.search(line):
        track = replace(track, model_memory_gib=float(found[1]))
    if _FRESH_COMPILE.search(line):
        return replace(track, compile_cached=False)
    if track.compile_cached is None and _CACHED_COMPILE.search(line):
        return replace(track, compile_cached=True)
    return track
