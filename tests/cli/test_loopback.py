"""Where the browser returns to: one answer, from whoever knows the state."""

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from broker.cli.loopback import listening
from broker.errors import Conflict

STATE = "the-state"


class Desk:
    """Remembers what it was brought; answers ``outcome``."""

    def __init__(self, outcome: dict[str, Any] | Exception) -> None:
        self.brought: list[dict[str, str]] = []
        self._outcome = outcome

    def __call__(self, answer: Mapping[str, str]) -> dict[str, Any]:
        self.brought.append(dict(answer))
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def get(address: str, **parameters: str) -> httpx2.Response:
    """What a browser is shown at the return address."""
    return httpx2.get(address, params=parameters or None, trust_env=False, timeout=60)


def test_an_answer_with_the_state_is_taken_once() -> None:
    """The page says how it ended, and says the same when it is loaded again; the answer is taken once."""
    desk = Desk({"id": "con_1"})
    with listening(STATE, desk) as (address, result):
        pages = [get(address, state=STATE, completion_code="code") for _ in range(2)]
        assert result.result(60) == {"id": "con_1"}
    assert [page.status_code for page in pages] == [200, 200]
    assert "Connected" in pages[0].text
    assert desk.brought == [{"state": STATE, "completion_code": "code"}]
    with pytest.raises(httpx2.ConnectError):
        get(address, state=STATE)


@pytest.mark.parametrize("query", ["", "?state=", "?state=wrong&completion_code=x", f"?state={STATE}&state={STATE}"])
def test_without_the_state_nothing_happens(query: str) -> None:
    """No, a wrong or a repeated state: 404, the answer is not taken, and the right browser can still come."""
    desk = Desk({"id": "con_1"})
    with listening(STATE, desk) as (address, result):
        assert get(address + query).status_code == 404
        assert desk.brought == []
        assert not result.done()
        assert get(address, state=STATE).status_code == 200


def test_other_paths_and_methods_lead_nowhere() -> None:
    """Only GET /callback is answered, even for somebody who knows the state."""
    desk = Desk({})
    with listening(STATE, desk) as (address, _):
        assert get(address.replace("/callback", "/"), state=STATE).status_code == 404
        assert httpx2.post(address, params={"state": STATE}, trust_env=False).status_code == 501
    assert desk.brought == []


def test_a_failure_is_told_to_the_browser_and_to_the_terminal() -> None:
    """The page has the reason, as text; the terminal gets the error itself."""
    with listening(STATE, Desk(Conflict("no <b>good</b>"))) as (address, result):
        page = get(address, state=STATE)
        with pytest.raises(Conflict, match="no <b>good</b>"):
            result.result(60)
    assert page.status_code == 400
    assert "Not connected" in page.text
    assert "no &lt;b&gt;good&lt;/b&gt;" in page.text


def test_an_unforeseen_error_reaches_the_terminal_only() -> None:
    """What nobody foresaw is raised where the person looks, and isn't shown to the browser."""
    with listening(STATE, Desk(ZeroDivisionError("canary"))) as (address, result):
        page = get(address, state=STATE)
        with pytest.raises(ZeroDivisionError):
            result.result(60)
    assert page.status_code == 500
    assert "canary" not in page.text


def test_the_page_is_shown_only_when_it_is_true() -> None:
    """The browser waits for the completion: no page before it, and the page before the terminal goes on."""
    may_finish = Event()

    def finish(_: Mapping[str, str]) -> dict[str, Any]:
        assert may_finish.wait(60)
        return {}

    with listening(STATE, finish) as (address, result), ThreadPoolExecutor(1) as pool:
        page = pool.submit(get, address, state=STATE)
        assert not result.done()
        assert not page.done()
        may_finish.set()
        assert page.result().status_code == 200
        assert result.result(60) == {}


def test_a_silent_connection_holds_nobody_up() -> None:
    """Browsers connect ahead of need; a connection without a request delays neither the answer nor the end."""
    with listening(STATE, Desk({})) as (address, result):
        port = urlsplit(address).port
        with socket.create_connection(("127.0.0.1", port)):
            assert get(address, state=STATE).status_code == 200
            assert result.result(60) == {}


def test_the_page_can_do_nothing() -> None:
    """It is not kept, sends no address on, can't be framed and runs no script."""
    with listening(STATE, Desk({})) as (address, _):
        page = get(address, state=STATE)
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    assert STATE not in page.text


def test_it_listens_on_loopback_only() -> None:
    """The return address is an IP literal of this machine with a port of its own (RFC 8252 §7.3, §8.3)."""
    with listening(STATE, Desk({})) as (address, _):
        assert urlsplit(address).hostname == "127.0.0.1"
        assert urlsplit(address).port not in {None, 80}
