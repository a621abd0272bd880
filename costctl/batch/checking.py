"""A file of requests is checked as a whole before anything is started for it."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from costctl.batch.jobs import jobs_and_problems
from costctl.batch.repeats import Repeats
from costctl.batch.values import Form, Identical, Job, Problem, shown
from costctl.errors import BadValueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from costctl.batch.defaults import Defaults
    from costctl.batch.sources import Source

_MOST_PROBLEMS = 20
_MOST_MODELS = 20
_DIGEST_BYTES = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What makes a batch the same batch: the input's bytes, unpacked, and the defaults."""

    source: bytes
    defaults: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What is known of a file of requests after reading all of it."""

    name: str
    total: int
    """How many requests there are."""
    forms: frozenset[Form]
    models: tuple[str, ...]
    """The models that they are for, the most frequent first; of very many only some."""
    fingerprint: Fingerprint
    unique_requests: int
    problems: tuple[Problem, ...]
    """The first of them."""
    problem_count: int
    repeats: array[int]
    """For each line that gets the answer of an earlier one that line, else 0; empty if there are none."""

    def first_line(self, line: int) -> int:
        """Return the line whose answer `line` gets, which is `line` itself for most."""
        return (line < len(self.repeats) and self.repeats[line]) or line

    def demand_sound(self) -> None:
        """Do nothing if every line can be sent.

        Raises:
            BadValueError: a line cannot, or there is none; says which and why.
        """
        if self.problem_count:
            more = self.problem_count - len(self.problems)
            told = [f"  {problem}" for problem in self.problems] + [f"  and {more:,} more"] * bool(more)
            lines = "1 problem" if self.problem_count == 1 else f"{self.problem_count:,} problems"
            raise BadValueError("\n".join((f"{self.name} has {lines}, so nothing was started:", *told)))
        if not self.total:
            raise BadValueError(f"{self.name} is empty: there is nothing to compute")


def check(
    source: Source, defaults: Defaults, *, endpoint: str | None = None, identical: Identical = Identical.AUTO
) -> Checked:
    """Read a whole file of requests; what is wrong with its lines is in the answer.

    Args:
        source: the file.
        defaults: values for all lines.
        endpoint: what all lines have to ask for, in the form of batch lines; anything if left out.
        identical: what becomes of requests that are the same.

    Raises:
        CostctlError: it cannot be read to its end.
    """
    survey = _Survey(identical=identical)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for found in jobs_and_problems(source, defaults, feed=digest.update):
        if isinstance(found, Problem):
            survey.complain(found)
        elif endpoint is not None and (found.form is not Form.BATCH or found.path != endpoint):
            survey.complain(Problem(line=found.line, text=f"not a line of a batch with the url {endpoint!r}"))
        else:
            survey.count(found)
    repeats = _find_repeats(survey, (job for job in jobs_and_problems(source, defaults) if isinstance(job, Job)))
    settings = hashlib.blake2b(defaults.canonical(), digest_size=_DIGEST_BYTES)
    return Checked(
        name=source.name,
        total=len(survey.ids),
        forms=frozenset(survey.forms),
        models=tuple(model for model, _ in survey.models.most_common()),
        fingerprint=Fingerprint(source=digest.digest(), defaults=settings.digest()),
        unique_requests=len(survey.ids) - sum(1 for line in repeats if line),
        problems=tuple(sorted(survey.problems, key=lambda problem: problem.line)),
        problem_count=survey.problem_count,
        repeats=repeats,
    )


@dataclass(kw_only=True, slots=True)
class _Survey:
    """What is gathered in the first pass: 16 bytes for each request."""

    identical: Identical
    ids: array[int] = field(default_factory=lambda: array("q"))
    requests: array[int] = field(default_factory=lambda: array("q"))
    forms: set[Form] = field(default_factory=set)
    models: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    last_line: int = 0

    def count(self, job: Job) -> None:
        self.ids.append(hash(job.custom_id))
        if self.identical.shares(job):
            self.requests.append(hash(_request(job)))
        self.forms.add(job.form)
        self.last_line = job.line
        if job.model in self.models or len(self.models) < _MOST_MODELS:
            self.models[job.model] += 1

    def complain(self, problem: Problem) -> None:
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)


def _find_repeats(survey: _Survey, jobs: Iterator[Job]) -> array[int]:
    """Complain of names that are used twice; return each repeated request's first line by line, else 0.

    The file is read again only if something seems to be repeated.
    """
    ids, requests = Repeats(survey.ids), Repeats(survey.requests)
    repeats = array("I", bytes(4 * (survey.last_line + 1) if requests else 0))
    if not ids and not requests:
        return repeats
    for job in jobs:
        if (named := ids.first_line(job.line, job.custom_id)) != job.line:
            survey.complain(
                Problem(line=job.line, text=f"custom_id {shown(job.custom_id)} is that of line {named} too")
            )
        if survey.identical.shares(job) and (first := requests.first_line(job.line, _request(job))) != job.line:
            repeats[job.line] = first
    return repeats


def _request(job: Job) -> bytes:
    return job.path.encode() + job.body
