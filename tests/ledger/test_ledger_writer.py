import logging
import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest

from costctl.domain.sessions import Instance, Phase
from costctl.ledger.database import Database
from costctl.ledger.store import Ledger
from costctl.ledger.writer import LedgerWriter

START = datetime(2026, 1, 31, tzinfo=UTC)
SOON_S = 10.0


class Pauses:
    """A pause that lasts until the test says so, or until somebody wants the writer to try now."""

    def __init__(self):
        self.lengths = []
        self.begun = threading.Semaphore(0)

    def __call__(self, wake, seconds):
        self.lengths.append(seconds)
        self.begun.release()
        assert wake.wait(SOON_S)

    def wait_for_next(self):
        assert self.begun.acquire(timeout=SOON_S)


class Gate:
    """A verb that holds the writer until the test opens it, so that what is submitted meanwhile waits."""

    def __init__(self):
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self, ledger):
        self.reached.set()
        assert self.opened.wait(SOON_S)


def machine(name):
    return lambda ledger: ledger.register_instance(Instance(machine=name))


def machines(ledger):
    with ledger._look() as connection:
        return list(connection.exec_driver_sql("SELECT machine FROM instances ORDER BY id").scalars())


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture
def writer(ledger, pauses):
    writer = LedgerWriter(ledger, pause=pauses)
    yield writer
    writer.close(SOON_S)
    assert not writer._thread.is_alive()


@pytest.fixture
def ledger(file_url):
    """A ledger that does not wait for locks: the writer's own pauses are what is tested."""
    with Ledger(Database(file_url, busy_s=0)) as opened:
        yield opened


@pytest.fixture
def lock(path):
    """Another program that holds the ledger; call it to let go."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield lambda: connection.execute("ROLLBACK")
    connection.close()


def test_verbs_run_in_their_order(ledger, writer):
    for number in range(50):
        writer.submit(machine(f"m{number}"))
    assert writer.flush(SOON_S)
    assert machines(ledger) == [f"m{number}" for number in range(50)]
    assert (writer.pending, writer.problem, writer.dropped) == (0, None, 0)


def test_what_waits_is_written_in_one_transaction(ledger, writer, file_url):
    gate = Gate()
    writer.submit(gate)
    assert gate.reached.wait(SOON_S)
    seen = []
    with Ledger.read(file_url) as beside:
        for name in ("a", "b"):
            writer.submit(machine(name))
            writer.submit(lambda _: seen.append(machines(beside)))
        gate.opened.set()
        assert writer.flush(SOON_S)
        assert seen == [[], []]
        assert machines(beside) == ["a", "b"]


def test_only_the_last_heartbeat_waits_in_its_latest_place(ledger, writer):
    gate, ran = Gate(), []
    writer.submit(gate)
    assert gate.reached.wait(SOON_S)
    for number in range(100):
        writer.submit(lambda _, number=number: ran.append(f"beat {number}"), key="heartbeat")
    writer.submit(lambda _: ran.append("phase"))
    writer.submit(lambda _: ran.append("beat last"), key="heartbeat")
    writer.submit(lambda _: ran.append("other"), key="other")
    assert writer.pending == 4
    gate.opened.set()
    assert writer.flush(SOON_S)
    assert ran == ["phase", "beat last", "other"]


def test_a_locked_ledger_is_tried_again_with_growing_pauses(ledger, lock, writer, pauses, caplog):
    writer.submit(machine("a"))
    for _ in range(9):
        pauses.wait_for_next()
        writer._retry_now.set()
    pauses.wait_for_next()
    writer.submit(machine("b"))
    assert pauses.lengths == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert writer.pending == 2
    assert "is locked by another program" in writer.problem
    lock()
    assert writer.flush(SOON_S)
    assert machines(ledger) == ["a", "b"]
    assert writer.problem is None
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2  # said once, and when it is over


def test_pauses_begin_small_again_after_success(path, ledger, lock, writer, pauses):
    writer.submit(machine("a"))
    pauses.wait_for_next()
    lock()
    assert writer.flush(SOON_S)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer.submit(machine("b"))
    pauses.wait_for_next()
    other.execute("ROLLBACK")
    other.close()
    assert writer.flush(SOON_S)
    assert pauses.lengths == [0.5, 0.5]


def test_nothing_is_written_twice_after_a_full_disk(ledger, writer, pauses):
    session_id = ledger.open_session(
        instance_id=ledger.register_instance(Instance(machine="box")),
        key="boot",
        started_at=START,
        at=START,
        price=None,
        phase=Phase.OFF,
    )
    with ledger._look() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    gate = Gate()
    writer.submit(gate)
    assert gate.reached.wait(SOON_S)
    room_again = threading.Event()
    writer.submit(lambda ledger: limit(ledger, 1_000_000 if room_again.is_set() else pages + 2))
    for hour in (START + timedelta(hours=hour) for hour in range(400)):
        writer.submit(
            lambda ledger, hour=hour: ledger.add_usage(
                session_id, hour_at=hour, model="m" * 100, requests=1, prompt_tokens=2, generation_tokens=3
            )
        )
    gate.opened.set()
    pauses.wait_for_next()
    assert "the disk is full" in writer.problem
    room_again.set()
    assert writer.flush(SOON_S)
    assert [usage.requests for usage in ledger.usage(session_id)] == [1] * 400


def limit(ledger, pages):
    with ledger._begin() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


def test_a_verb_that_fails_is_left_out_and_the_others_are_written(ledger, writer, caplog):
    gate = Gate()
    writer.submit(gate)
    assert gate.reached.wait(SOON_S)
    writer.submit(machine("a"))
    writer.submit(lambda ledger: ledger.begin_phase(99, at=START, phase=Phase.BUSY))
    writer.submit(machine("b"))
    writer.submit(lambda _: 1 / 0)
    writer.submit(machine("c"))
    gate.opened.set()
    assert writer.flush(SOON_S)
    assert machines(ledger) == ["a", "b", "c"]
    assert (writer.dropped, writer.problem) == (2, None)
    mine, unforeseen = caplog.records
    assert "the ledger has no session 99" in mine.message
    assert not mine.exc_info
    assert unforeseen.exc_info[0] is ZeroDivisionError


def test_the_queue_is_bounded_but_a_heartbeat_still_replaces_its_like(ledger, lock, pauses, caplog):
    writer = LedgerWriter(ledger, bound=3, pause=pauses)
    writer.submit(machine("first"))
    pauses.wait_for_next()
    writer.submit(machine("old beat"), key="heartbeat")
    for name in ("a", "too much", "too much"):
        writer.submit(machine(name))
    writer.submit(machine("new beat"), key="heartbeat")
    assert (writer.pending, writer.dropped) == (3, 2)
    assert "too many writes wait for the ledger" in caplog.text
    lock()
    assert writer.close(SOON_S)
    assert machines(ledger) == ["first", "a", "new beat"]


def test_flushing_in_vain_says_so(ledger, lock, writer, pauses):
    writer.submit(machine("a"))
    assert writer.flush(0.01) is False
    lock()
    assert writer.flush(SOON_S)


def test_closing_writes_what_waits_and_ends_the_thread(ledger, pauses):
    writer = LedgerWriter(ledger, pause=pauses)
    for number in range(2000):
        writer.submit(machine(f"m{number % 7}"))
    assert writer.close(SOON_S)
    assert not writer._thread.is_alive()
    assert len(machines(ledger)) == 7
    writer.submit(machine("late"))
    assert (writer.pending, writer.dropped) == (0, 1)


def test_closing_while_the_ledger_is_locked_gives_up_in_time(ledger, lock, pauses):
    writer = LedgerWriter(ledger, pause=pauses)
    writer.submit(machine("a"))
    pauses.wait_for_next()
    assert writer.close(0.01) is False
    writer._thread.join(SOON_S)
    assert not writer._thread.is_alive()
    assert writer.pending == 1


def test_by_default_pauses_are_real_and_can_be_cut_short(ledger, lock):
    writer = LedgerWriter(ledger)
    writer.submit(machine("a"))
    assert writer.flush(0.01) is False
    lock()
    assert writer.close(SOON_S)
    assert machines(ledger) == ["a"]
