"""Boxes that leave nothing behind."""

import pytest
from running_costctl import Box


@pytest.fixture
def box():
    box = Box()
    yield box
    box.close()
