"""The form in real Chromium: typed on a phone and on a desktop, by keyboard alone, enlarged, wrong and right."""

import httpx2
import pytest
from playwright.sync_api import Page, expect

from tests.kinds.cases import ALICE_KEY
from tests.web.site import App
from tests.web.windows import DESKTOP, PHONE, SCREENS, Opens

pytestmark = pytest.mark.browser


@pytest.fixture
def app(clicked_app: App) -> App:
    """An app at a broker that serves."""
    return clicked_app


def focused(page: Page) -> str:
    """The name, or else the text, of what has the focus."""
    script = "(e => e.id || e.textContent.trim().replace(/\\s+/g, ' '))(document.activeElement)"
    return str(page.evaluate(script))


@pytest.mark.parametrize("screen", SCREENS)
def test_a_key_is_typed(app: App, window: Opens, screen: str) -> None:
    """On any screen: read, type it wrong, be told, type it right, be back; then the app completes."""
    opened = app.open_session(provider="practice-key", subject_name="Ann Lee", state="s")
    browser = window(**SCREENS[screen])
    browser.page.goto(opened["connect_url"])
    browser.heading("Acme Notes wants to connect to your Practice Key account")
    browser.picture("form")
    boxes = [browser.page.get_by_role("button", name=name).bounding_box() for name in ("Connect", "Cancel")]
    sizes = [(round(box["width"]), round(box["height"])) for box in boxes if box]
    assert sizes[0] == sizes[1]  # RFC 10027: saying no is as large as saying yes
    assert min(sizes[0]) >= 44
    browser.page.get_by_label("API key").fill("not a key")
    browser.press("Connect")
    expect(browser.page.get_by_text("API key does not look right.")).to_be_visible()
    expect(browser.page.get_by_label("API key")).to_be_focused()
    expect(browser.page.get_by_label("API key")).to_have_value("")
    browser.picture("form-malformed")
    browser.page.get_by_label("API key").fill("pk_nobodys_key_1")
    browser.press("Connect")
    expect(browser.page.get_by_role("alert")).to_contain_text("Practice Key does not accept this")
    expect(browser.page.get_by_label("API key")).to_be_focused()
    browser.picture("form-refused")
    browser.page.get_by_label("API key").fill(ALICE_KEY)
    browser.complaints.clear()  # of the two answers with status 422
    browser.press("Connect")
    brought = browser.back_in_the_app()
    assert (brought["connect_session"], brought["state"]) == (opened["id"], "s")
    assert ALICE_KEY not in browser.page.url
    connection = app.complete(opened["id"], brought["completion_code"])["connection"]
    assert connection["account"]["name"] == "alice@practice.example"
    assert browser.context.cookies() == []


def test_a_double_click(app: App, window: Opens) -> None:
    """The button pressed twice in haste: the browser is back in the app all the same, and one connection is made."""
    # B3
    opened = app.open_session(provider="practice-key", completion="browser")
    browser = window()
    browser.page.goto(opened["connect_url"])
    browser.page.get_by_label("API key").fill(ALICE_KEY)
    browser.page.get_by_role("button", name="Connect").dblclick(no_wait_after=True)
    assert browser.back_in_the_app()["status"] == "connected"
    assert app.session(opened["id"])["status"] == "completed"


def test_by_keyboard_alone(app: App, window: Opens) -> None:
    """Tab goes through link, fields and buttons in the order of reading; Enter in a field connects."""
    opened = app.open_session(provider="practice-basic")
    browser = window(**DESKTOP)
    browser.page.goto(opened["connect_url"])
    order = []
    for _ in range(5):
        browser.page.keyboard.press("Tab")
        order.append(focused(browser.page))
    fields = ["credentials.username", "credentials.password", "credentials.domain"]
    assert order == [*fields, "Connect", "Cancel"]
    for _ in range(4):
        browser.page.keyboard.press("Shift+Tab")
    browser.page.keyboard.type("alice@practice.example")
    browser.page.keyboard.press("Tab")
    browser.page.keyboard.type("practice-password-alice")
    browser.page.keyboard.press("Enter")
    brought = browser.back_in_the_app()
    assert app.complete(opened["id"], brought["completion_code"])["connection"]["credential_type"] == "basic"


def test_cancel_asks_for_no_field(app: App, window: Opens) -> None:
    """Although fields are required, who wants nothing types nothing; Connect without them stays on the page."""
    opened = app.open_session(provider="practice-key")
    browser = window(**PHONE)
    browser.page.goto(opened["connect_url"])
    browser.press("Connect")
    expect(browser.page.get_by_label("API key")).to_be_focused()
    assert browser.page.url == opened["connect_url"]
    browser.press("Cancel")
    assert browser.back_in_the_app()["error"] == "access_denied"


@pytest.mark.parametrize("screen", SCREENS)
def test_a_file_is_pasted(app: App, window: Opens, sandbox: httpx2.Client, screen: str) -> None:
    """A key of many lines in a field of many lines, which shows none of it."""
    made = sandbox.post("/control/keys", json={"kind": "google_service_account"}).raise_for_status().text
    opened = app.open_session(provider="practice-service-account")
    browser = window(**SCREENS[screen])
    browser.page.goto(opened["connect_url"])
    field = browser.page.get_by_label("Key file")
    field.fill(made)
    assert field.evaluate("e => getComputedStyle(e).webkitTextSecurity") == "disc"
    browser.picture("form-key-file")
    browser.press("Connect")
    brought = browser.back_in_the_app()
    connection = app.complete(opened["id"], brought["completion_code"])["connection"]
    assert connection["credential_type"] == "google_service_account"


def test_at_twice_the_size(app: App, window: Opens) -> None:
    """At 200 % on a small window nothing is cut off and nothing sticks out (WCAG 2.2, 1.4.4 and 1.4.10)."""
    # So does Chromium zoom: twice the pixels for a point, and half the points in its window.
    browser = window(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    browser.page.goto(app.open_session(provider="practice-custom", subject_name="Ann Lee")["connect_url"])
    browser.picture("form-zoomed")
    browser.page.evaluate("document.documentElement.style.fontSize = '200%'")
    browser.picture("form-large-text")
    lines = "button => Math.round(button.offsetHeight / parseFloat(getComputedStyle(button).lineHeight))"
    assert browser.page.get_by_role("button", name="Connect").evaluate(lines) <= 2
    browser.page.set_viewport_size({"width": 320, "height": 256})
    browser.page.evaluate("document.documentElement.style.fontSize = ''")
    browser.picture("form-narrow")


def test_it_works_without_javascript(app: App, window: Opens) -> None:
    """With scripts switched off the way is the same."""
    opened = app.open_session(provider="practice-key")
    browser = window(java_script_enabled=False)
    browser.page.goto(opened["connect_url"])
    browser.page.get_by_label("API key").fill(ALICE_KEY)
    browser.press("Connect")
    brought = browser.back_in_the_app()
    assert app.complete(opened["id"], brought["completion_code"])["connection"]["subject"] == "ann"


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_to_type(app: App, window: Opens, screen: str) -> None:
    """The button is all there is."""
    opened = app.open_session(provider="practice-none")
    browser = window(**SCREENS[screen])
    browser.page.goto(opened["connect_url"])
    browser.picture("form-nothing")
    browser.press("Connect")
    assert browser.back_in_the_app()["connect_session"] == opened["id"]
