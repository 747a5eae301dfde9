"""The practice provider's entry in the README does all that the README goes on to do with it."""

import re
from pathlib import Path

import httpx2
import pytest

from broker.providers import Registry, load_providers
from broker.providers.lint import lint
from broker.providers.written import as_written
from tests.journey import MakeClient
from tests.world import Person

_README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.fixture
def providers(tmp_path: Path, sandbox: httpx2.Client) -> Registry:
    """The entry, for the practice provider that runs here."""
    block = re.search(r"```yaml\n(  practice:\n.*?)```", _README, re.DOTALL)
    assert block is not None
    path = tmp_path / "providers.yaml"
    path.write_text("providers:\n" + block[1].replace("http://127.0.0.1:8500", str(sandbox.base_url).rstrip("/")))
    return load_providers(path, {})


def test_nothing_of_the_entry_has_to_be_mended(providers: Registry, tmp_path: Path) -> None:
    """Nobody is sent to mend it, each scope has a name for the person, and programs find their token."""
    entry, written = providers.get("practice"), as_written((tmp_path / "providers.yaml").read_text())
    assert [found for found in lint(entry, written) if found.level == "problem"] == []
    assert set(entry.default_scopes) <= set(entry.scopes)
    assert list(entry.env.values()) == ["{access_token}"]


async def test_a_newcomer_gets_as_far_as_the_proxy(
    make_client: MakeClient, http: httpx2.AsyncClient, sandbox: httpx2.Client
) -> None:
    """Connected, the account has a name; the token opens whoami, and the proxy the messages."""
    app = await make_client()
    connection = await app.connect(Person(http))
    assert connection["account"]["name"] == "alice@practice.example"
    token = (await app.fetch(connection["id"])).json()["access_token"]
    whoami = sandbox.get("/whoami", headers={"Authorization": f"Bearer {token}"})
    assert (whoami.status_code, "name" in whoami.json()) == (200, True)
    assert (await app.call("GET", f"/proxy/{connection['id']}/messages")).status_code == 200
