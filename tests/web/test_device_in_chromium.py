"""A machine's login in real Chromium: the code typed on a phone or a desktop, the complete link, yes and no."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from playwright.sync_api import expect

from tests.kinds.cases import ALICE_KEY
from tests.machine import DEVICE_CODE
from tests.web.site import served_client
from tests.web.windows import PHONE, SCREENS, Opens

pytestmark = pytest.mark.browser

_LOOK = """button => {
  const look = getComputedStyle(button), box = button.getBoundingClientRect();
  return [box.width, box.height, look.backgroundColor, look.color, look.borderColor, look.borderWidth,
          look.fontSize, look.fontWeight, look.opacity, look.textDecorationLine];
}"""
"""Everything by which one button can be more prominent than another."""


@dataclass
class Machine:
    """A machine with no screen, at a broker that serves."""

    broker: httpx2.Client
    client_id: str
    codes: dict[str, Any] = field(default_factory=dict)

    def ask(self, name: str = "build-box", headers: dict[str, str] | None = None, provider: str = "practice") -> None:
        """Begin a login."""
        form = {"client_id": self.client_id, "provider": provider, "device_name": name}
        answer = self.broker.post("/oauth/device_authorization", data=form, headers=headers)
        self.codes = answer.raise_for_status().json()

    @property
    def code(self) -> str:
        """What it shows."""
        return str(self.codes["user_code"])

    def poll(self) -> dict[str, Any]:
        """Ask whether its person has agreed."""
        form = {"grant_type": DEVICE_CODE, "client_id": self.client_id, "device_code": self.codes["device_code"]}
        answer: dict[str, Any] = self.broker.post("/oauth/token", data=form).json()
        return answer


@pytest.fixture(scope="module")
def served(sandbox_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx2.Client, str]]:
    """A broker that serves, and a public client for machines."""
    options = ("--scope", "tokens:read connections:read", "--device", "--public")
    # So that each window can be at an address of its own.
    proxies = {"BROKER_TRUSTED_PROXIES": "127.0.0.1/32,::1/128"}
    folder = tmp_path_factory.mktemp("broker")
    with served_client(sandbox_url, folder, "Acme CLI", *options, **proxies) as (broker, client):
        yield broker, client["client_id"]


@pytest.fixture
def machine(served: tuple[httpx2.Client, str], sandbox: httpx2.Client) -> Machine:
    """A machine that shows a code."""
    machine = Machine(*served)
    machine.ask()
    return machine


@pytest.mark.parametrize("screen", SCREENS)
def test_a_key_is_typed_for_a_machine(machine: Machine, window: Opens, screen: str) -> None:
    """Where the provider knows no sign-in: link, question, form, end page; and the machine is logged in."""  # D5
    machine.ask(provider="practice-key")
    browser = window(**SCREENS[screen])
    browser.page.goto(machine.codes["verification_uri_complete"])
    browser.heading("A device with Acme CLI wants to use your Practice Key account")
    browser.picture("device-question-form")
    browser.press("Approve and continue")
    browser.page.get_by_label("API key").fill(ALICE_KEY)
    browser.picture("device-form-key")
    looks = [browser.page.get_by_role("button", name=name).evaluate(_LOOK) for name in ("Connect", "Cancel")]
    assert looks[0] == looks[1]
    browser.press("Connect")
    browser.heading("Approved: go back to your device")
    assert machine.poll()["access_token"].startswith("bat_")


@pytest.mark.parametrize("screen", SCREENS)
def test_a_code_is_typed_and_approved(machine: Machine, window: Opens, screen: str) -> None:
    """Address, code, question, provider, end page, on any screen; then the person's own page, and logged out there."""
    # D5
    browser = window(**SCREENS[screen])
    browser.page.goto(machine.codes["verification_uri"])
    browser.heading("Enter the code that your device shows")
    expect(browser.page.get_by_label("Code", exact=True)).to_be_focused()
    browser.picture("device-form")
    browser.page.keyboard.type(machine.code.lower().replace("-", ""))
    browser.press("Continue")
    browser.heading("A device with Acme CLI wants to use your Practice account")
    expect(browser.page.get_by_text(machine.code)).to_be_visible()
    browser.picture("device-question")
    browser.press("Approve and continue to Practice")
    browser.press("Allow")
    browser.heading("Approved: go back to your device")
    expect(browser.page.get_by_role("button")).to_have_count(0)
    browser.picture("device-approved")
    assert "access_token" in machine.poll()
    browser.page.get_by_role("link", name="See or end this login").click()
    browser.heading("A device is logged in to your Practice account")
    browser.picture("device-login")
    browser.press("Log this device out")
    browser.heading("The device is logged out")
    expect(browser.page.get_by_role("button")).to_have_count(0)
    browser.picture("device-logged-out")


@pytest.mark.parametrize("screen", SCREENS)
def test_no_is_as_near_as_yes(machine: Machine, window: Opens, screen: str) -> None:
    """The two buttons look the same in everything, are large enough for a thumb, and neither is preselected."""
    # D5
    browser = window(**SCREENS[screen])
    browser.page.goto(machine.codes["verification_uri_complete"])
    approve = browser.page.get_by_role("button", name="Approve and continue to Practice")
    decline = browser.page.get_by_role("button", name="Decline")
    browser.page.mouse.move(0, 0)
    assert approve.evaluate(_LOOK) == decline.evaluate(_LOOK)
    assert min(decline.evaluate(_LOOK)[:2]) >= 44
    assert browser.page.evaluate("document.activeElement.tagName") == "BODY"
    decline.click()
    browser.heading("Declined")
    expect(browser.page.get_by_role("button")).to_have_count(0)
    browser.picture("device-declined")
    assert machine.poll()["error"] == "access_denied"


def test_the_complete_link_waits_for_the_person(machine: Machine, window: Opens, sandbox: httpx2.Client) -> None:
    """Opened, reloaded and left alone it shows the code to compare, and nothing else happens."""
    # D5
    browser = window(**PHONE)
    browser.page.goto(machine.codes["verification_uri_complete"])
    for _ in range(3):
        browser.page.reload()
        browser.heading("A device with Acme CLI wants to use your Practice account")
    expect(browser.page.get_by_text("Does your device show this code?")).to_be_visible()
    browser.page.keyboard.press("Enter")
    assert machine.poll()["error"] == "authorization_pending"
    assert sandbox.get("/counters").json()["authorize"] == 0


def test_with_the_keyboard_alone(machine: Machine, window: Opens) -> None:
    """Type, Enter, Tab to the button, Enter; both buttons can be reached, and the focus is seen."""
    browser = window(**SCREENS["desktop"])
    browser.page.goto(machine.codes["verification_uri"])
    expect(browser.page.get_by_label("Code", exact=True)).to_be_focused()
    browser.page.keyboard.type(machine.code)
    browser.page.keyboard.press("Enter")
    browser.heading("A device with Acme CLI wants to use your Practice account")
    reached = []
    for _ in range(2):
        browser.page.keyboard.press("Tab")
        reached.append(browser.page.evaluate("document.activeElement.value"))
        assert browser.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["approve", "decline"]
    browser.picture("device-focus")
    browser.page.keyboard.press("Shift+Tab")
    browser.page.keyboard.press("Enter")
    browser.page.wait_for_url("**/authorize**")


@pytest.mark.parametrize("screen", ["phone", "desktop", "phone in the dark"])
def test_a_wrong_code_and_too_many(machine: Machine, window: Opens, screen: str) -> None:
    """The form again, with what was typed and a reason; at last a page that says how long to wait."""
    # D1
    elsewhere = {"X-Forwarded-For": f"198.51.100.{len(screen)}"}
    browser = window(**SCREENS[screen], extra_http_headers=elsewhere)
    browser.page.goto(machine.codes["verification_uri"])
    for tries in range(6):
        field = browser.page.get_by_label("Code", exact=True)
        field.fill("wdjb-mjht")
        browser.press("Continue")
        if tries == 0:
            expect(browser.page.get_by_role("alert")).to_contain_text("This code is not valid")
            browser.picture("device-wrong-code")
    browser.heading("Too many codes were tried")
    browser.picture("device-too-many")
    browser.complaints.clear()


def test_nothing_sticks_out_of_a_small_phone(machine: Machine, window: Opens) -> None:
    """Names without a space to break at, and the longest address, on 320 pixels."""
    machine.ask("W" * 64, {"X-Forwarded-For": "2001:db8:1234:5678:9abc:def0:1234:5678"})
    browser = window(**{**PHONE, "viewport": {"width": 320, "height": 568}})
    browser.page.goto(machine.codes["verification_uri"])
    browser.picture("device-form")
    browser.page.goto(machine.codes["verification_uri_complete"])
    expect(browser.page.get_by_text("2001:db8:1234:5678:9abc:def0:1234:5678")).to_be_visible()
    browser.picture("device-question")
    buttons = [browser.page.get_by_role("button", name=name) for name in ("Approve", "Decline")]
    assert buttons[0].evaluate(_LOOK) == buttons[1].evaluate(_LOOK)
    browser.press("Approve")
    browser.press("Allow")
    browser.heading("Approved")
    browser.picture("device-approved")
    machine.poll()
    browser.page.get_by_role("link").click()
    browser.heading("A device is logged in")
    browser.picture("device-login")
