"""APScheduler with its job store in a real ledger, in real time: within a second or two."""

import pickle
import queue
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from costctl.adapters.scheduling import ApschedulerAlarms
from costctl.domain.schedules import Alarm, Schedule, parse_rule
from costctl.errors import LedgerError

PATIENCE_S = 20


def schedule(number, rule="every 1h", **ago):
    return Schedule(
        id=number,
        name=f"job{number}",
        rule=parse_rule(rule),
        zone=ZoneInfo("UTC"),
        command=("x",),
        folder="/",
        since=datetime.now(UTC) - timedelta(**ago),
    )


def alarm(number, seconds):
    return Alarm(schedule=schedule(number), at=datetime.now(UTC) + timedelta(seconds=seconds))


class Listening:
    """Alarms that were made for a test, and what rang."""

    def __init__(self, ledger, machine):
        self.rang = queue.Queue()
        self.alarms = ApschedulerAlarms(ledger.jobs_of(machine), machine, lambda *due: self.rang.put(due))

    def next(self):
        return self.rang.get(timeout=PATIENCE_S)


@pytest.fixture
def listen(ledger):
    made = []

    def listen(machine="box", ledger=ledger):
        made.append(Listening(ledger, machine))
        return made[-1]

    yield listen
    for one in made:
        one.alarms.close()


def jobs(url):
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        return dict(connection.execute("SELECT id, next_run_time FROM schedule_jobs"))


def test_an_alarm_rings_at_its_time_and_the_next_is_in_the_ledger(listen, url):
    box, ahead = listen(), alarm(7, 0.3)
    box.alarms.set([ahead])
    assert box.next() == (7, ahead.at)
    assert datetime.now(UTC) >= ahead.at
    box.alarms.close()
    assert jobs(url)["box/7"] == pytest.approx((ahead.schedule.since + timedelta(hours=1)).timestamp())


def test_of_many_times_that_passed_the_last_rings_once(listen):
    box = listen()
    passed = Alarm(schedule=schedule(1, "every 1m", minutes=11), at=datetime.now(UTC) - timedelta(minutes=10))
    box.alarms.set([passed])
    _, due = box.next()
    assert timedelta() <= datetime.now(UTC) - due < timedelta(minutes=1, seconds=PATIENCE_S)
    assert box.rang.empty()


def test_what_is_set_takes_the_place_of_what_was(listen, url):
    box = listen()
    box.alarms.set([alarm(1, 0.3), alarm(2, 3600)])
    box.alarms.set([alarm(3, 0.6)])
    assert box.next()[0] == 3
    assert set(jobs(url)) == {"box/3"}


def test_machines_that_share_a_ledger_hear_only_their_own(listen, url, ledger):
    box, other, like_it = listen("box"), listen("other"), listen("bo_")
    box.alarms.set([alarm(1, 0.3)])
    box.alarms.close()  # its daemon is gone, so what is due stays there
    assert ledger.jobs_of("other").get_next_run_time() is None, "or it would look again and again for what is not its"
    other.alarms.set([alarm(2, 0.6)])
    like_it.alarms.set([])
    assert other.next()[0] == 2
    assert other.rang.empty()
    assert set(jobs(url)) == {"box/1", "other/2"}
    other.alarms.set([])
    assert set(jobs(url)) == {"box/1"}


def test_jobs_that_nobody_can_read_any_more_are_in_nobodys_way(listen, url):
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("INSERT INTO schedule_jobs VALUES ('box/9', 0, ?)", (pickle.dumps("an older costctl's"),))
    box = listen()
    box.alarms.set([alarm(1, 0.1)])
    assert box.next()[0] == 1


def test_a_ledger_that_does_not_take_what_is_due_next_does_not_end_the_alarms(listen, url, caplog):
    box, ahead = listen(), alarm(1, 0.2)
    box.alarms.set([ahead])
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
        connection.execute("CREATE TRIGGER full BEFORE UPDATE ON schedule_jobs BEGIN SELECT RAISE(ABORT, 'full'); END")
        assert box.next() == (1, ahead.at)
        while "trying again" not in caplog.text:
            box.alarms._scheduler._event.wait(0.01)
        connection.execute("DROP TRIGGER full")
    box.alarms._scheduler.wakeup()
    assert box.next() == (1, ahead.at), "it was not recorded, so it rings again; the ledger knows that it was taken"


def test_a_ledger_that_does_not_take_the_alarms_says_so_as_the_ledger_does(listen, url):
    box = listen()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("DROP TABLE schedule_jobs")
    with pytest.raises(LedgerError, match="no such table"):
        box.alarms.set([alarm(1, 3600)])
