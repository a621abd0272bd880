"""Machines of fakes, and ledgers to write in."""

import asyncio
import shutil

import pytest
from bench import Bench
from fakes.clock import FakeClock, InlineThreads
from fakes.machine import Machine

from costctl.ledger.store import Ledger


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def inline_threads():
    """Make `asyncio.to_thread` take no time."""
    asyncio.get_running_loop().set_default_executor(InlineThreads())


@pytest.fixture
async def machine(inline_threads, clock):
    made = Machine(clock=clock)
    yield made
    if made.launcher.processes:
        made.process.vanish()


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory):
    """A migrated ledger to copy: quicker than migrating one for each test."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def ledger(tmp_path, empty_ledger):
    path = shutil.copy(empty_ledger, tmp_path / "ledger.db")
    with Ledger.open(f"sqlite:///{path}") as opened:
        yield opened


@pytest.fixture
async def bench(inline_threads, clock, ledger):
    made = Bench(ledger, clock)
    yield made
    await made.close()
