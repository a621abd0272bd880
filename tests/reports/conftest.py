import pytest
from generated_year import fill_year

from costctl.ledger.store import Ledger


@pytest.fixture(scope="session")
def year_url(tmp_path_factory):
    """The ledger of the generated year; only to be read."""
    url = f"sqlite:///{tmp_path_factory.mktemp('year')}/ledger.db"
    with Ledger.open(url) as ledger:
        fill_year(ledger)
    return url
