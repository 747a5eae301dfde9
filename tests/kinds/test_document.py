"""The practice entries of ``docs/credentials.md`` are what they say: they load, and what Alice hands in works."""

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from broker.providers import Registry, load_providers
from broker.providers.lint import lint
from broker.providers.written import as_written
from tests.kinds.cases import created, made_by
from tests.world import ServiceClient

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs" / "credentials.md").read_text()
_PRACTICE = _TEXT.partition("<!-- practice -->")[2].partition("<!-- /practice -->")[0]
_HANDED_IN = dict(re.findall(r"^\| `(practice-[a-z-]+)` \| `(\{.*\})` \|$", _PRACTICE, re.MULTILINE))


@pytest.fixture
def providers(tmp_path: Path, sandbox: httpx2.Client) -> Registry:
    """The entries of the document, for the practice provider that runs here."""
    block = re.search(r"```yaml\n(.*?)```", _PRACTICE, re.DOTALL)
    assert block is not None
    path = tmp_path / "providers.yaml"
    path.write_text("providers:\n" + block[1].replace("http://127.0.0.1:8500", str(sandbox.base_url).rstrip("/")))
    return load_providers(path, {})


def test_nothing_of_the_document_has_to_be_mended(providers: Registry, tmp_path: Path) -> None:
    """Whoever begins with these entries isn't sent to mend them."""
    written = as_written((tmp_path / "providers.yaml").read_text())
    problems = [found for each in providers for found in lint(each, written) if found.level == "problem"]
    assert problems == []


async def test_what_stands_in_the_document_works(
    app: ServiceClient, providers: Registry, sandbox: httpx2.Client
) -> None:
    """Handed in as it stands there, tested, and used through the proxy."""
    assert len(_HANDED_IN) == len(providers) - 1
    for provider in providers.names:
        told = _HANDED_IN.get(provider)
        credentials: dict[str, Any] = json.loads(told) if told else made_by(sandbox, "google_service_account")
        connection = await created(app, provider, credentials)
        assert connection["account"] is not None
        issued = provider in {"practice-service-account", "practice-oauth"}
        for path in ("messages",) if issued else ("whoami", "messages", "echo"):
            assert (await app.call("GET", f"/proxy/{connection['id']}/{path}")).status_code == 200, provider
