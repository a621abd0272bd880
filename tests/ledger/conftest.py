import shutil
from datetime import UTC, datetime

import pytest

from costctl.domain.money import parse_price
from costctl.domain.sessions import Instance
from costctl.ledger.store import Ledger


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory):
    """A migrated ledger to copy: quicker than migrating one for each test."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def path(tmp_path, empty_ledger):
    return shutil.copy(empty_ledger, tmp_path / "ledger.db")


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def ledger(url):
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture
def instance_id(ledger):
    return ledger.register_instance(Instance(machine="box", gpu="A10G", gpu_count=1))


@pytest.fixture(scope="session")
def price():
    return parse_price("1.8 CNY/h", source="flag", dated=datetime(2026, 1, 1, tzinfo=UTC))
