"""How much a body announces to be, in however many digits."""

import httpx2
import pytest
from starlette.requests import Request

from broker.downstream.proxy.uploads import Upload
from broker.errors import PayloadTooLarge
from broker.http.reading import BODY_LIMIT, announced_size
from tests.world import ServiceClient

ZEROS = "0" * 5_000
NINES = "9" * 5_000


@pytest.mark.parametrize(
    ("digits", "size"), [("", 0), ("0", 0), ("3", 3), (f"{ZEROS}3", 3), (ZEROS, 0), (NINES, 10**19 - 1)]
)
def test_a_size_is_told_by_its_first_digits(digits: str, size: int) -> None:
    """Zeros in front mean nothing, and what is larger than anything is large (RFC 9110 §8.6)."""  # S11
    assert announced_size(digits.encode()) == size


@pytest.mark.parametrize("path", ["/v1/connect-sessions", "/oauth/token"])
@pytest.mark.parametrize(("digits", "statuses"), [(NINES, {413}), (f"{ZEROS}{BODY_LIMIT + 1}", {413}), (ZEROS, {401})])
async def test_any_number_of_digits_is_judged(
    app: ServiceClient, http: httpx2.AsyncClient, path: str, digits: str, statuses: set[int]
) -> None:
    """Refused as too large, or read; never a fault of ours."""  # S11
    media = "application/json" if path.startswith("/v1") else "application/x-www-form-urlencoded"
    answer = await http.post(path, content=b"", headers={"Content-Length": digits, "Content-Type": media})
    assert answer.status_code in statuses | ({400} if path == "/oauth/token" and 401 in statuses else set())


@pytest.mark.parametrize(("announced", "length"), [(f"{ZEROS}3", 3), ("\xb2", None), ("-1", None)])
def test_an_upload_is_as_long_as_it_announces(announced: str, length: int | None) -> None:
    """The proxy's, too; what is no number in ASCII announces nothing."""  # S11
    assert Upload(asking(announced), at_most=10, patience=1).length == length


def test_an_upload_that_announces_too_much_is_refused() -> None:
    """Before any of it is read."""  # S11
    with pytest.raises(PayloadTooLarge):
        Upload(asking(NINES), at_most=10, patience=1)


def asking(announced: str) -> Request:
    """A request with this Content-Length."""
    return Request({"type": "http", "headers": [(b"content-length", announced.encode("latin-1"))]})
