"""The files of a batch, all beside its results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - dataclasses read it

from costctl.errors import BadValueError


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPaths:
    """Where the results go; everything else is named after that."""

    results: Path

    def __post_init__(self) -> None:
        if self.results.is_dir():
            raise BadValueError(f"{self.results} is a directory: name a file for the results")
        if self.results.name == "-" or (self.results.exists() and not self.results.is_file()):
            raise BadValueError(f"results go to a file of their own, which {self.results} is not")
        if not self.results.parent.is_dir():
            raise BadValueError(f"there is no folder {self.results.parent} for {self.results.name}")
        if self.results.suffix == ".gz":
            raise BadValueError(f"results are not compressed: name {self.results.with_suffix('')} instead")

    @property
    def errors(self) -> Path:
        """Lines that failed: results.errors.jsonl for results.jsonl."""
        return self.results.with_name(f"{self.results.stem}.errors{self.results.suffix}")

    @property
    def results_part(self) -> Path:
        """Results while the batch is not finished."""
        return _with(self.results, ".part")

    @property
    def errors_part(self) -> Path:
        """Errors while the batch is not finished."""
        return _with(self.errors, ".part")

    @property
    def journal(self) -> Path:
        """What is done."""
        return _with(self.results, ".journal")

    @property
    def spool(self) -> Path:
        """The input, if it came as a stream."""
        return _with(self.results, ".input")

    @property
    def unfinished(self) -> tuple[Path, ...]:
        """What a crash can leave behind that nobody needs."""
        return ordered(self.results), ordered(self.errors), renewed(self.journal)

    def demand_apart_from(self, source: Path) -> None:
        """Do nothing if the batch overwrites nothing of its own input.

        Raises:
            BadValueError: the input is a file that the batch would write.
        """
        own = (self.results, self.errors, self.results_part, self.errors_part, self.journal, self.spool)
        if any(path.exists() and path.samefile(source) for path in own):
            raise BadValueError(f"{source} is the input: name another file for the results")


def ordered(final: Path) -> Path:
    """Return where results are written in order before they get their final name."""
    return _with(final, ".ordered")


def renewed(journal: Path) -> Path:
    """Return where another journal is written before it takes the place of the one at `journal`."""
    return _with(journal, ".new")


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
