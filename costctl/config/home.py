"""Where costctl keeps its state, and the names in there.

This module is imported by every quick command: it imports nothing heavy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from costctl.errors import BadValueError, CostctlError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Home:
    """One folder of state; one daemon works in it at a time."""

    folder: Path

    @property
    def lock(self) -> Path:
        """Held by the daemon while it lives; names its process."""
        return self.folder / "daemon.lock"

    @property
    def identity(self) -> Path:
        """The name of this machine in the ledger."""
        return self.folder / "machine-id"

    @property
    def engine_record(self) -> Path:
        """Names the running engine's first process, for the next daemon should this one be killed."""
        return self.folder / "engine.pid"

    @property
    def control_socket(self) -> Path:
        """Where the daemon takes the other commands' questions."""
        return self.folder / "control.sock"

    @property
    def logs(self) -> Path:
        """The engine's and the daemon's logs."""
        return self.folder / "logs"

    @property
    def engine_log(self) -> Path:
        """Everything the engine prints, rotated."""
        return self.logs / "engine.log"

    @property
    def daemon_log(self) -> Path:
        """What the daemon says, rotated."""
        return self.logs / "daemon.log"

    @property
    def files(self) -> Path:
        """Files and batches that came over HTTP."""
        return self.folder / "files"

    @property
    def schedules(self) -> Path:
        """The output of what schedules ran, and the locks of what runs."""
        return self.logs / "schedules"

    @property
    def ledger_file(self) -> Path:
        """The default ledger's file."""
        return self.folder / "ledger.db"

    @property
    def ledger_url(self) -> str:
        """The default ledger."""
        return f"sqlite:///{self.ledger_file}"

    @property
    def cache(self) -> Path:
        """Where answers are cached, if they are on disk."""
        return self.folder / "cache"

    def runtime_folder(self) -> Path:
        """Create and return a short private folder for sockets (their paths are at most 107 bytes long).

        Raises:
            CostctlError: somebody else owns it.
        """
        import hashlib  # noqa: PLC0415 - for the daemon only
        import tempfile  # noqa: PLC0415

        base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
        name = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:12]
        path = base / f"costctl-{os.getuid()}-{name}"
        try:
            path.mkdir(mode=0o700, exist_ok=True)
            status = path.lstat()
        except OSError as error:
            raise CostctlError(f"cannot make the folder {path} for sockets: {error.strerror}") from error
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise CostctlError(f"{path} is not private to this user: remove it, then try again")
        return path


def find_home(environ: Mapping[str, str], folder: str | os.PathLike[str] | None = None) -> Home:
    """Return the home in `folder`, else in COSTCTL_HOME, else in the platform's data folder. Raises BadValueError."""
    chosen = folder or environ.get("COSTCTL_HOME")
    if chosen:
        return Home(expand_user(chosen).absolute())
    from platformdirs import user_data_path  # noqa: PLC0415 - quick commands rarely need it

    return Home(user_data_path("costctl"))


def expand_user(path: str | os.PathLike[str]) -> Path:
    """Return `path` with `~` and `~user` replaced by that user's home folder. Raises BadValueError."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise BadValueError(f"there is no home folder for {str(path)!r}") from None
