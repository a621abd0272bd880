import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from costctl import resources
from costctl.domain.sessions import Instance, Phase
from costctl.errors import BadValueError, LedgerError, LedgerOlderError, LedgerTooNewError, MissingPieceError
from costctl.ledger.database import Database
from costctl.ledger.migrate import backup_path, bring_up_to_date
from costctl.ledger.schema import METADATA, REVISION
from costctl.ledger.store import Ledger

NEXT = """
from alembic import op
revision = "0008"
down_revision = "0007"
def upgrade():
    op.execute("ALTER TABLE instances ADD COLUMN note TEXT")
    {more}
"""

FILLED = """
INSERT INTO instances (id, machine, gpu_count) VALUES (1, 'box', 0);
INSERT INTO sessions (id, instance_id, power_on_key, started_at, heartbeat_at) VALUES (1, 1, 'boot', 1000, 9000);
INSERT INTO phases (session_id, started_at, phase) VALUES (1, 1000, 'off');
INSERT INTO batches VALUES (1, 1, 'jobs.jsonl', 2000, 3000, 9, 1, 10, 20);
INSERT INTO schedules VALUES (1, 'box', 'nightly', 'cron 0 2 * * *', 'UTC', '["batch"]', '/', '[]', 1, 1, 0, 0);
INSERT INTO schedule_runs VALUES (1, 1, 2000, 2000, 3000, 'failed', 4, 'last words', '["batch"]', 1, '/log');
"""


def ddl(path):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'alembic%'"
        )
        return {name: " ".join(sql.split()) for name, sql in rows}


def set_revision(path, revision):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


@pytest.fixture
def ledger(file_url):
    with Ledger.open(file_url) as opened:
        yield opened


@pytest.fixture
def newer_scripts(tmp_path):
    """Migrations as a later costctl would have them."""
    folder = shutil.copytree(resources.folder("migrations"), tmp_path / "100% migrations")

    def write(more="pass"):
        (folder / "versions" / "0008_next.py").write_text(NEXT.format(more=more))
        return folder

    return write


def test_migrations_make_what_the_models_say(path, tmp_path):
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_migrations_make_it_to_the_letter(path, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'models.db'}")
    METADATA.create_all(engine)
    engine.dispose()
    assert ddl(path) == ddl(tmp_path / "models.db")


def test_the_newest_migration_is_the_one_that_the_program_expects():
    config = Config()
    config.set_main_option("script_location", str(resources.folder("migrations")))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_opening_makes_a_ledger_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'a ledger?#%41.db'}"
    with Ledger.open(url) as ledger:
        first = ledger.register_instance(Instance(machine="box"))
    with Ledger.open(url) as ledger:
        assert ledger.register_instance(Instance(machine="box")) == first
        assert ledger.name == str(tmp_path / "a ledger?#%41.db")
    assert [found.name for found in tmp_path.iterdir()] == ["a ledger?#%41.db"]


def test_a_ledger_is_safe_against_power_cuts_and_readable_while_written(ledger):
    with ledger._begin() as connection:
        modes = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert modes == ["wal", 2, 1, 5000]


def test_a_newer_ledger_is_refused_and_left_as_it_is(path, file_url):
    set_revision(path, "0999")
    for use in (Ledger.open, Ledger.read):
        with pytest.raises(LedgerTooNewError, match=r"newer costctl \(revision 0999\): upgrade costctl"):
            use(file_url)


def test_an_unknown_revision_counts_as_newer(path, file_url):
    set_revision(path, "abc123")
    with pytest.raises(LedgerTooNewError, match="abc123"):
        Ledger.open(file_url)


def test_an_older_ledger_is_backed_up_and_migrated(path, file_url, ledger, newer_scripts):
    ledger.register_instance(Instance(machine="box"))
    bring_up_to_date(Database(file_url), scripts=newer_scripts(), newest="0008")
    assert "note" in ddl(path)["instances"]
    (backup,) = path.parent.glob("ledger-0007-*.backup.db")
    assert "note" not in ddl(backup)["instances"]
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT machine FROM instances").fetchall() == [("box",)]


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(path, file_url, newer_scripts):
    before = ddl(path)
    scripts = newer_scripts(more='op.execute("INSERT INTO nowhere VALUES (1)")')
    with pytest.raises(LedgerError, match="no such table: nowhere"):
        bring_up_to_date(Database(file_url), scripts=scripts, newest="0008")
    assert ddl(path) == before
    with Ledger.open(file_url) as ledger:
        assert ledger.check() == []


def test_a_ledger_of_the_first_costctl_gets_what_came_later(path, file_url, ledger):
    ledger.register_instance(Instance(machine="box"))
    ledger.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        tables = "prices batches benchmarks schedule_runs schedules schedule_jobs cached_hours"
        for table in tables.split():
            connection.execute(f"DROP TABLE {table}")
    set_revision(path, "0001")
    before = ddl(path)
    with pytest.raises(LedgerOlderError):
        Ledger.read(file_url)
    with Ledger.open(file_url) as migrated:
        assert migrated.prices() == []
        assert migrated.register_instance(Instance(machine="box")) == 1
    after = ddl(path)
    tables = {"prices", "batches", "benchmarks", "schedules", "schedule_runs", "schedule_jobs", "cached_hours"}
    assert set(after) - set(before) == tables | {
        "ix_batches_session",
        "ix_batches_schedule_run",
        "ix_schedule_runs_outcome",
        "ix_schedule_jobs_next_run_time",
    }
    assert {name: after[name] for name in before} == before


def test_batches_that_an_older_costctl_left_open_are_lost(path, file_url, ledger, instance_id):
    at = datetime(2026, 1, 31, tzinfo=UTC)
    session = ledger.open_session(instance_id=instance_id, key="b", started_at=at, at=at, price=None, phase=Phase.OFF)
    for name in ("open", "over"):
        ledger.begin_batch(session, name=name, at=at)
    ledger.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE batches SET ended_at = started_at + 9 WHERE name = 'over'")
        connection.execute("ALTER TABLE batches DROP COLUMN outcome")
    set_revision(path, "0006")
    with Ledger.open(file_url) as migrated:
        assert [(each.name, each.outcome, each.ended_at) for each in migrated.batches(session)] == [
            ("open", "lost", at),
            ("over", "done", at + timedelta(microseconds=9)),
        ]


def test_a_filled_ledger_of_before_schedules_had_batches_keeps_everything(tmp_path):
    scripts = shutil.copytree(resources.folder("migrations"), tmp_path / "0005")
    for newer in ("0006_runs_of_schedules.py", "0007_ends_of_batches.py"):
        (scripts / "versions" / newer).unlink()
    path = tmp_path / "old.db"
    bring_up_to_date(Database(f"sqlite:///{path}"), scripts=scripts, newest="0005")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(FILLED)
    with Ledger.open(f"sqlite:///{path}") as ledger:
        (batch,) = ledger.batches(1)
        assert (batch.name, batch.requests, batch.schedule_run_id) == ("jobs.jsonl", 9, None)
        (run,) = ledger.schedule_runs("box")
        assert (run.outcome, run.exit_code, run.detail, run.alive_at) == ("failed", 4, "last words", None)
        assert ledger.batches_of_runs([run.id]) == []
        assert ledger.check() == []
    assert len(list(tmp_path.glob("old-0005-*.backup.db"))) == 1


def test_reading_neither_makes_nor_migrates(tmp_path, path, file_url):
    missing = tmp_path / "none.db"
    with pytest.raises(LedgerError, match=r"no ledger at .*none\.db yet: it is made by the first `costctl serve`"):
        Ledger.read(f"sqlite:///{missing}")
    assert not missing.exists()
    missing.touch()
    with pytest.raises(LedgerError, match="no ledger at"):
        Ledger.read(f"sqlite:///{missing}")
    set_revision(path, "0000")
    with pytest.raises(LedgerError, match=r"older costctl's \(revision 0000\): run `costctl serve` once"):
        Ledger.read(file_url)


def test_a_database_of_something_else_is_refused(tmp_path):
    path = tmp_path / "photos.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE photos (id INTEGER)")
    for use in (Ledger.open, Ledger.read):
        with pytest.raises(LedgerError, match="is a database of something else"):
            use(f"sqlite:///{path}")
    assert list(ddl(path)) == ["photos"]


def test_a_backup_is_named_after_revision_and_time():
    at = datetime(2026, 1, 31, 23, 59, 1, tzinfo=UTC)
    assert backup_path(Path("/data/ledger.db"), revision="0001", at=at) == Path(
        "/data/ledger-0001-20260131T235901Z.backup.db"
    )


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("ledger.db", BadValueError, "is not a ledger URL"),
        ("sqlite://", BadValueError, "names no file"),
        ("sqlite:///:memory:", BadValueError, "names no file"),
        ("nonsense://x", BadValueError, "unknown kind of database"),
        ("mysql+nosuchdriver://x:secret@y/z", BadValueError, r"mysql\+nosuchdriver://x:\*\*\*@y/z"),
        ("oracle+cx_oracle://x:secret@y/z", MissingPieceError, "needs the Python module 'cx_Oracle'"),
    ],
)
def test_a_bad_url_is_explained_without_its_password(url, error, words):
    with pytest.raises(error, match=words) as caught:
        Ledger.open(url)
    assert "secret" not in str(caught.value)
