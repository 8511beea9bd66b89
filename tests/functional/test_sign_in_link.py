"""`notifier sign-in-link` against a sandbox with approval pages."""

from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from operations.cli.cloud import Cloud
from operations.cli.deployment import Deployment
from operations.cli.errors import CommandError
from operations.cli.sign_in_link import new_link
from sandbox.office import Office
from sandbox.scene import ANN
from sandbox.trial import Setting


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with Office.start(tmp_path_factory.mktemp("office"), Setting(schedule_every_s=600.0)) as office:
        yield office


def place_of(office: Office, pages: str | None) -> Deployment:
    sandbox = office.trial.sandbox
    return Deployment(
        sandbox.bucket,
        sandbox.table,
        sandbox.function("WorkerFunction").name,
        sandbox.function("ControlFunction").name,
        region="eu-central-1",
        endpoint_url=sandbox.endpoint_url,
        access_key_id="sandbox",
        secret_access_key="sandbox",
        approval=sandbox.function("ApprovalFunction").name,
        pages=pages,
    )


def test_a_link_leads_to_the_button(office: Office) -> None:
    """The app itself takes the link for one of its own."""
    url = new_link(Cloud(place_of(office, office.url)), ANN)
    with urlopen(url, timeout=20) as answer:  # noqa: S310 - the sandbox's own http://
        page = answer.read().decode()
    assert answer.status == 200
    assert "Sign in" in page
    assert ANN in page


def test_strangers_get_none(office: Office) -> None:
    """Nor is there one where there are no pages."""
    with pytest.raises(CommandError, match="may neither ask nor approve"):
        new_link(Cloud(place_of(office, office.url)), "eve@elsewhere.org")
    with pytest.raises(CommandError, match="no approval pages"):
        new_link(Cloud(place_of(office, None)), ANN)
