"""Boxes that leave nothing behind."""

import signal

import pytest
from running_costctl import Box


@pytest.fixture(scope="session", autouse=True)
def hangups_end():
    """Started by `nohup`, the tests would pass on to every daemon that a hangup is to be ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def box():
    box = Box()
    yield box
    box.close()
