from dataclasses import dataclass
from pathlib import Path

import pytest

from costctl.batch.checking import check
from costctl.batch.defaults import Defaults
from costctl.batch.jobs import read_jobs
from costctl.batch.paths import BatchPaths
from costctl.batch.sources import open_source

DEFAULTS = Defaults(model="qwen")


@dataclass
class Folder:
    """A folder with a file of requests, and where its results go."""

    path: Path

    @property
    def paths(self):
        return BatchPaths(results=self.path / "results.jsonl")

    def source(self, content, name="jobs.jsonl"):
        file = self.path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return open_source(str(file), self.paths)

    def check(self, content, name="jobs.jsonl", defaults=DEFAULTS):
        return check(self.source(content, name), defaults)

    def jobs(self, content, name="jobs.jsonl", defaults=DEFAULTS):
        return list(read_jobs(self.source(content, name), defaults))

    def problems(self, content, name="jobs.jsonl", defaults=DEFAULTS):
        return list(map(str, self.check(content, name, defaults).problems))

    def names(self):
        return sorted(path.name for path in self.path.iterdir())


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)
