"""Credentials that come as a file: what counts as the file, and what of it counts."""

import json
from typing import Any

import pytest

from broker.connections.credential_document import unfolded
from broker.errors import InvalidCredentials
from broker.providers.kinds import KINDS

DOCUMENT = KINDS["google_service_account"].document
FILE = {
    "type": "service_account",
    "client_email": "a@b.example",
    "private_key": "pem",
    "token_uri": "https://x.example",
}
HELD = {"client_email": "a@b.example", "private_key": "pem"}


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        (FILE, HELD),
        (HELD, HELD),
        ({**FILE, "subject": "ann"}, {**HELD, "subject": "ann"}),
        ({"key_file": FILE}, HELD),
        ({"key_file": json.dumps(FILE)}, HELD),
        ({"key_file": f"\n{json.dumps(FILE, indent=2)}\n", "subject": "ann"}, {**HELD, "subject": "ann"}),
        ({**HELD, "key_file": ""}, HELD),
        ({**HELD, "key_file": None}, HELD),
        ({"key_file": {**FILE, "surprise": 1}}, {**HELD, "surprise": 1}),
    ],
)
def test_the_file_stands_for_its_members(credentials: dict[str, Any], expected: dict[str, Any]) -> None:
    """Whole or member by member; what isn't known of it is left for the fields to name."""
    assert unfolded(DOCUMENT, credentials) == expected
    assert unfolded(None, credentials) is credentials


@pytest.mark.parametrize(
    ("credentials", "field"),
    [
        ({"key_file": "pem"}, "credentials.key_file"),
        ({"key_file": "[1]"}, "credentials.key_file"),
        ({"key_file": 5}, "credentials.key_file"),
        ({"key_file": "[" * 30_000}, "credentials.key_file"),
        ({"key_file": json.dumps({**FILE, "pad": "x" * 40_000})}, "credentials.key_file"),
        ({"key_file": HELD}, "credentials.key_file"),
        ({"key_file": {**FILE, "type": ["service_account"]}}, "credentials.key_file"),
        ({**FILE, "type": "external_account"}, "credentials"),
        ({"key_file": FILE, "private_key": "other"}, "credentials.private_key"),
    ],
)
def test_what_is_no_such_file_is_named(credentials: dict[str, Any], field: str) -> None:
    """And never quoted."""  # K1
    with pytest.raises(InvalidCredentials) as refused:
        unfolded(DOCUMENT, credentials)
    assert (refused.value.step, [fault.field for fault in refused.value.faults]) == ("format", [field])
    assert "pem" not in refused.value.faults[0].message
