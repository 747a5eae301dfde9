"""``iss`` in authorization answers (RFC 9207)."""

import pytest

from broker.errors import InvalidRequest
from broker.upstream.authorization_response import check_issuer

ISSUER = "https://provider.test"


@pytest.mark.parametrize(
    ("expected", "received", "required"),
    [
        (ISSUER, ISSUER, True),
        (ISSUER, ISSUER, False),
        (ISSUER, None, False),
        (None, ISSUER, False),
        (None, None, False),
    ],
)
def test_the_right_issuer_passes(expected: str | None, received: str | None, required: bool) -> None:
    """The same, or nothing to compare."""
    check_issuer(expected, received, required=required)


@pytest.mark.parametrize(
    "received",
    [f"{ISSUER}/", "https://PROVIDER.test", f"{ISSUER}:443", "https://evil.test", "", f" {ISSUER}"],
)
@pytest.mark.parametrize("required", [True, False])
def test_any_other_issuer_is_refused(received: str, required: bool) -> None:
    """Compared character by character, whether required or not."""  # B7
    with pytest.raises(InvalidRequest):
        check_issuer(ISSUER, received, required=required)


@pytest.mark.parametrize("expected", [ISSUER, None])
def test_a_missing_issuer_is_refused_where_it_is_always_sent(expected: str | None) -> None:
    """Advertised and missing is an attack."""  # B7
    with pytest.raises(InvalidRequest):
        check_issuer(expected, None, required=True)
