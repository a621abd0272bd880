import shutil
from datetime import UTC, datetime

import pytest
from fakes.postgresql import PostgreSQL, needs_postgresql
from sqlalchemy import make_url

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
def file_url(path):
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgresql():
    started = PostgreSQL()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def empty_database(postgresql):
    """A migrated ledger in PostgreSQL to copy."""
    made = postgresql.make()
    Ledger.open(made).close()
    return made


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs_postgresql)])
def url(request):
    """The URL of an empty ledger, in each kind of database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("file_url")
        return
    server, template = request.getfixturevalue("postgresql"), request.getfixturevalue("empty_database")
    made = server.make(template=make_url(template).database)
    yield made
    server.remove(made)


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
