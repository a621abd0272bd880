import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from costctl.domain.sessions import Instance, Phase
from costctl.errors import LedgerError, LedgerUnavailableError
from costctl.ledger.database import Database
from costctl.ledger.store import Ledger

START = datetime(2026, 1, 31, tzinfo=UTC)
_NOBODY = 65_534
BEAT = """
import sys
from datetime import UTC, datetime, timedelta
from costctl.ledger.store import Ledger
ledger = Ledger.open(sys.argv[1])
for second in range(1, 1_000_000):
    ledger.heartbeat(int(sys.argv[2]), datetime(2026, 1, 31, tzinfo=UTC) + timedelta(seconds=second))
    print(second, flush=True)
"""


@pytest.fixture
def ledger(file_url):
    with Ledger.open(file_url) as opened:
        yield opened


@contextmanager
def as_somebody():
    """Act as an ordinary user, for whom permissions count."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only(empty_ledger):
    """A ledger that everybody may read in a folder where nobody may write."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = Path(shutil.copy(empty_ledger, folder / "ledger.db"))
        path.chmod(0o444)
        folder.chmod(0o555)
        yield path
        folder.chmod(0o755)


def fill(ledger):
    """Write until the disk is full."""
    instance_id = ledger.register_instance(Instance(machine="box"))
    for number in range(10_000):
        key = f"{number:01000}"
        ledger.open_session(instance_id=instance_id, key=key, started_at=START, at=START, price=None, phase=Phase.OFF)


def test_a_full_disk_is_not_for_ever(ledger):
    with ledger._begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(
        LedgerUnavailableError, match=r"ledger\.db cannot be written: the disk is full, free some space"
    ):
        fill(ledger)
    assert ledger.check() == ["machine box: more than one session is open"]
    with ledger._look() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    ledger.register_instance(Instance(machine="another"))


def test_a_lock_is_waited_for_and_then_explained(path, file_url):
    with (
        Ledger(Database(file_url, busy_s=0.01)) as ledger,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            LedgerUnavailableError, match=r"is locked by another program: find it with `fuser .*ledger\.db"
        ):
            ledger.register_instance(Instance(machine="box"))
        assert ledger.sessions() == []
        other.execute("ROLLBACK")
        assert ledger.register_instance(Instance(machine="box")) == 1


@pytest.mark.parametrize("use", [Ledger.open, Ledger.read])
def test_a_file_that_is_not_a_database(tmp_path, use):
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 1000)
    with pytest.raises(LedgerError, match=r"notes\.txt is not an SQLite database: move it away") as caught:
        use(f"sqlite:///{path}")
    assert not isinstance(caught.value, LedgerUnavailableError)
    assert path.read_text().startswith("buy milk")


@pytest.mark.parametrize("use", [Ledger.open, Ledger.read])
def test_a_damaged_ledger(path, use):
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(LedgerError, match="is damaged: move it away and put a backup in its place"):
        use(f"sqlite:///{path}").sessions()


@pytest.mark.parametrize("use", [Ledger.open, Ledger.read])
def test_a_folder_where_the_ledger_should_be(tmp_path, use):
    with pytest.raises(LedgerError, match="is a folder: name a file in it"):
        use(f"sqlite:///{tmp_path}")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(
        LedgerUnavailableError, match="cannot be opened: check that it is a file, that its folder exists"
    ):
        Ledger.open(f"sqlite:///{tmp_path}/none/ledger.db")


def test_a_ledger_in_a_read_only_folder_can_be_read(read_only):
    with as_somebody(), Ledger.read(f"sqlite:///{read_only}") as ledger:
        assert ledger.sessions() == []


def test_a_ledger_in_a_read_only_folder_cannot_be_written(read_only):
    with as_somebody(), pytest.raises(LedgerUnavailableError, match=r"cannot be (opened|written): check"):
        Ledger.open(f"sqlite:///{read_only}").register_instance(Instance(machine="box"))


def test_a_reader_cannot_write(file_url):
    with Ledger.read(file_url) as ledger, pytest.raises(LedgerUnavailableError, match="cannot be written"):
        ledger.register_instance(Instance(machine="box"))


@pytest.mark.parametrize("lose", [Path.unlink, lambda path: path.rename(path.with_name("moved.db"))])
def test_a_ledger_that_is_taken_away_is_missed(path, ledger, lose):
    ledger.register_instance(Instance(machine="box"))
    lose(path)
    with pytest.raises(LedgerUnavailableError, match="was moved or deleted: put it back or restart costctl"):
        ledger.register_instance(Instance(machine="other"))


def test_what_was_committed_is_read_after_a_kill(path, file_url, ledger, tmp_path):
    """A killed daemon leaves the write-ahead log; its copy stands for the disk after a power cut."""
    ledger.register_instance(Instance(machine="box"))
    after = tmp_path / "after.db"
    shutil.copy(path, after)
    shutil.copy(f"{path}-wal", f"{after}-wal")
    with Ledger.read(f"sqlite:///{after}") as reader, reader._look() as connection:
        assert connection.exec_driver_sql("SELECT machine FROM instances").scalar() == "box"
    with Ledger.open(f"sqlite:///{after}") as again:
        assert again.register_instance(Instance(machine="box")) == 1


def test_a_heartbeat_that_was_committed_survives_a_kill(file_url, ledger):
    instance_id = ledger.register_instance(Instance(machine="box"))
    session_id = ledger.open_session(
        instance_id=instance_id, key="boot", started_at=START, at=START, price=None, phase=Phase.OFF
    )
    daemon = subprocess.Popen(
        [sys.executable, "-c", BEAT, file_url, str(session_id)], stdout=subprocess.PIPE, text=True
    )
    beats = [daemon.stdout.readline() for _ in range(20)]
    daemon.kill()
    beats += daemon.communicate()[0].splitlines(keepends=True)
    last_said = int(next(beat for beat in reversed(beats) if beat.endswith("\n")))
    (session,) = ledger.sessions()
    assert last_said <= (session.known_until - START).total_seconds() <= last_said + 2
    assert ledger.check() == []
