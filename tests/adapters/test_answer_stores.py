"""Both stores of answers: the file, and a real Redis server that the test starts."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

from costctl.adapters.answers.disk import DiskStore
from costctl.adapters.answers.redis import RedisStore
from costctl.errors import AnswerStoreError, BadValueError

PATIENCE_S = 10
KIB, MIB = 2**10, 2**20
SERVER = next(filter(None, map(shutil.which, ("redis-server", "valkey-server"))), None)
needs_server = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed (Debian: redis-server)")


class Server:
    """A Redis server on a Unix socket of its own, without any files."""

    def __init__(self, folder, *options):
        self.socket = folder / "redis.sock"
        self.options = options
        self.start()

    @property
    def url(self):
        return f"unix://{self.socket}"

    def start(self):
        command = (SERVER, "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no")
        self.process = subprocess.Popen((*command, *self.options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while not self.socket.exists():
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)


@pytest.fixture
def server(tmp_path):
    started = Server(tmp_path)
    yield started
    started.stop()


@pytest.fixture(params=["disk", pytest.param("redis", marks=needs_server)])
def store(request, tmp_path):
    if request.param == "disk":
        made = DiskStore(tmp_path / "cache", most_bytes=MIB)
    else:
        made = RedisStore(request.getfixturevalue("server").url)
    with contextlib.closing(made):
        yield made


def test_an_entry_is_found_until_it_is_cleared(store):
    assert store.get("a") is None
    store.put("a", b"\x00\xff\n", 60)
    store.put("a", b"again", 60)
    store.put("b", b"", 60)
    assert (store.get("a"), store.get("b"), store.get("c")) == (b"again", b"", None)
    assert store.content().entries == 2
    assert store.clear() == 2
    assert (store.get("a"), store.content().entries, store.clear()) == (None, 0, 0)


def test_an_entry_expires(store):
    store.put("a", b"short", 0.03)
    store.put("b", b"long", 60)
    deadline = time.monotonic() + PATIENCE_S
    while store.get("a") is not None:
        assert time.monotonic() < deadline
    assert store.get("b") == b"long"
    assert store.content().entries == 1


# --- the file ---


class At:
    """A time to set."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def open_disk(folder):
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            contextlib.closing(DiskStore(folder, **{"most_bytes": MIB} | options))
        )


def test_only_the_owner_may_look(open_disk, folder):
    open_disk().put("a", b"secret", 60)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "answers.db").stat().st_mode & 0o777 == 0o600


def test_entries_outlive_the_daemon_and_expire_by_the_wall_clock(open_disk):
    at = At(1000.0)
    open_disk(now=at).put("a", b"kept", 60)
    again = open_disk(now=at)
    assert again.get("a") == b"kept"
    at.now += 60
    assert again.get("a") is None


def test_the_store_stays_within_its_size_and_drops_what_expires_first(open_disk, folder):
    at = At(1000.0)
    store = open_disk(now=at)
    for number in range(200):
        at.now += 1
        store.put(f"{number}", os.urandom(16 * KIB), 1000)
        assert store.content().bytes_used <= MIB
    assert store.get("199") is not None
    assert store.get("0") is None
    assert 30 < store.content().entries < 64
    assert (folder / "answers.db").stat().st_size <= MIB + 64 * KIB


def test_a_store_that_is_allowed_less_than_before_takes_less(open_disk, folder):
    for number in range(60):
        open_disk(most_bytes=4 * MIB).put(f"{number}", os.urandom(64 * KIB), 1000)
    store = open_disk()
    store.put("new", b"n", 60)
    assert store.get("new") == b"n"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MIB


def test_one_entry_does_not_drive_out_all_others(open_disk):
    store = open_disk()
    store.put("small", b"s", 60)
    store.put("huge", bytes(MIB // 2), 60)
    assert (store.get("small"), store.get("huge")) == (b"s", None)


def test_what_was_cleared_is_not_on_the_disk(open_disk, folder):
    store = open_disk()
    store.put("a", b"find me if you can" * 1000, 60)
    store.clear()
    assert list(folder.iterdir()) == []
    store.put("a", b"again", 60)
    assert store.get("a") == b"again"


def test_looking_at_a_store_that_is_not_there_makes_none(open_disk, folder):
    store = open_disk()
    assert (store.content().entries, store.clear()) == (0, 0)
    assert not folder.exists()


def test_a_spoilt_file_can_be_cleared(open_disk, folder):
    folder.mkdir()
    (folder / "answers.db").write_bytes(b"this is no database" * 1000)
    store = open_disk()
    assert store.clear() == 0
    store.put("a", b"fresh", 60)
    assert store.get("a") == b"fresh"


def test_a_spoilt_file_is_made_anew(open_disk, folder):
    folder.mkdir()
    (folder / "answers.db").write_bytes(b"this is no database" * 1000)
    store = open_disk()
    with pytest.raises(AnswerStoreError, match=r"answers\.db: file is not a database"):
        store.get("a")
    store.put("a", b"fresh", 60)
    assert store.get("a") == b"fresh"


def test_a_full_disk_is_said_and_is_not_for_ever(open_disk, folder):
    store = open_disk()
    store.put("a", b"before", 60)
    with store._connection() as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(AnswerStoreError, match="database or disk is full"):
        store.put("b", bytes(64 * KIB), 60)
    assert store.get("a") == b"before"
    store.put("b", bytes(64 * KIB), 60)
    assert store.get("b") == bytes(64 * KIB)


def test_a_folder_that_cannot_be_used_is_said(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    store = DiskStore(tmp_path / "cache", most_bytes=MIB)
    with pytest.raises(AnswerStoreError, match="File exists"):
        store.get("a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_folder_that_may_not_be_entered_is_said_by_every_call(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o000)
    store = DiskStore(tmp_path / "closed" / "cache", most_bytes=MIB)
    for call in (lambda: store.get("a"), lambda: store.put("a", b"x", 60), store.content, store.clear):
        with pytest.raises(AnswerStoreError, match="Permission denied"):
            call()


def test_permissions_that_were_changed_are_mended(open_disk, folder):
    store = open_disk()
    store.put("a", b"kept", 60)
    store.close()
    (folder / "answers.db").chmod(0o444)
    folder.chmod(0o755)
    store.put("b", b"new", 60)
    assert store.get("a") == b"kept"
    assert (folder.stat().st_mode & 0o777, (folder / "answers.db").stat().st_mode & 0o777) == (0o700, 0o600)


def test_a_file_that_somebody_else_locks_is_waited_for_only_briefly(open_disk, folder):
    store = open_disk()
    store.put("a", b"there", 60)
    with contextlib.closing(sqlite3.connect(folder / "answers.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.get("a") == b"there"
        with pytest.raises(AnswerStoreError, match="locked"):
            store.put("b", b"x", 60)
        other.execute("ROLLBACK")
    store.put("b", b"x", 60)


# --- the server ---


@needs_server
def test_a_server_that_goes_and_comes_is_used_again(server):
    with contextlib.closing(RedisStore(server.url)) as store:
        store.put("a", b"one", 60)
        server.stop()
        with pytest.raises(AnswerStoreError, match=r"^redis at .*redis\.sock, database 0 cannot be reached$"):
            store.get("a")
        server.start()
        assert store.get("a") is None
        store.put("a", b"two", 60)
        assert store.get("a") == b"two"


@needs_server
def test_a_server_that_hangs_is_given_up(server):
    with contextlib.closing(RedisStore(server.url)) as store:
        store.put("a", b"one", 60)
        server.freeze()
        began = time.monotonic()
        with pytest.raises(AnswerStoreError, match="does not answer"):
            store.get("a")
        assert time.monotonic() - began < 5


@needs_server
def test_nothing_but_costctls_own_keys_is_cleared(server):
    import redis

    with contextlib.closing(RedisStore(server.url)) as store, redis.Redis.from_url(server.url) as other:
        other.set("somebody's", "else")
        for number in range(1200):
            store.put(f"{number}", b"x", 60)
        assert store.clear() == 1200
        assert other.get("somebody's") == b"else"


@needs_server
def test_a_wrong_password_is_not_repeated(tmp_path):
    server = Server(tmp_path, "--requirepass", "right")
    try:
        store = RedisStore(f"unix://:hush-hush@{server.socket}")
        with pytest.raises(AnswerStoreError, match="refuses the user or the password") as caught:
            store.get("a")
        assert "hush" not in f"{caught.value} {store.name}"
        with contextlib.closing(RedisStore(f"unix://:right@{server.socket}")) as allowed:
            allowed.put("a", b"in", 60)
            assert allowed.get("a") == b"in"
    finally:
        server.stop()


@needs_server
def test_a_full_server_is_said(tmp_path):
    server = Server(tmp_path, "--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
    try:
        with contextlib.closing(RedisStore(server.url)) as store, pytest.raises(AnswerStoreError, match="is full"):
            store.put("a", bytes(4 * MIB), 60)
    finally:
        server.stop()


def test_a_name_that_can_be_no_host_is_said():
    with pytest.raises(AnswerStoreError):
        RedisStore("redis://a..b").get("a")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://:hush@cache:6380/2", "redis at cache:6380, database 2"),
        ("valkey://cache", "redis at cache:6379, database 0"),
        ("valkeys://u:hush@cache", "redis at cache:6379, database 0"),
        ("unix:///run/r.sock?db=3", "redis at /run/r.sock, database 3"),
    ],
)
def test_a_server_is_named_without_its_password(url, name):
    assert RedisStore(url).name == name


def test_a_url_that_is_not_understood_is_not_repeated():
    with pytest.raises(BadValueError) as caught:
        RedisStore("redis://user:hush/hush@cache")
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None
