"""The folder of files and batches: for its owner alone, and a full disk is said."""

import resource
import stat
from contextlib import contextmanager

import pytest

from costctl.adapters.file_store import FolderStore
from costctl.errors import CostctlError, StorageFullError


@contextmanager
def disk_that_takes(most_bytes):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "files").mkdir(mode=0o755)
    made = FolderStore(tmp_path / "files")
    made.load()
    return made


def keep(store, identity, content=b"content"):
    upload = store.upload(identity)
    upload.write(content)
    upload.keep()
    store.save(identity, {"id": identity})


def modes(folder):
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


def test_nobody_but_the_owner_may_look_at_anything(store, tmp_path):
    folder = tmp_path / "files"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keep(store, "file-1")
    store.save("batch_2", {"id": "batch_2"})
    store.prepare("batch_2", "file-1")
    store.upload("file-3")
    assert modes(folder) == {
        "file-1": 0o600,
        "file-1.json": 0o600,
        "file-3.part": 0o600,
        "batch_2": 0o700,
        "batch_2/batch_2": 0o600,
        "batch_2.json": 0o600,
    }
    results = store.batch_results("batch_2")
    results.write_bytes(b"ok\n")
    results.chmod(0o644)
    assert store.take_output("batch_2", "file-4", failures=False) == 3
    assert modes(folder)["file-4"] == 0o600


def test_a_disk_that_is_full_in_the_middle_of_an_upload_is_said_and_nothing_of_it_stays(store, tmp_path):
    upload = store.upload("file-1")
    with disk_that_takes(1000), pytest.raises(StorageFullError, match=r"cannot keep file-1.part: the disk is full"):
        upload.write(b"x" * 5000)
    upload.discard()
    assert not list((tmp_path / "files").iterdir())


def test_a_record_that_finds_no_room_leaves_the_one_there_was(store):
    keep(store, "file-1")
    with disk_that_takes(10), pytest.raises(StorageFullError):
        store.save("file-1", {"id": "file-1", "more": "x" * 100})
    assert store.load() == [{"id": "file-1"}]


def test_the_disk_has_room_unless_it_has_not(store, tmp_path):
    assert store.has_room()
    assert FolderStore(tmp_path / "nowhere").has_room()  # somebody else will say what is wrong with it


def test_a_batch_cannot_begin_from_a_file_that_is_gone(store):
    with pytest.raises(CostctlError, match="cannot keep batch_2: No such file"):
        store.prepare("batch_2", "file-1")
