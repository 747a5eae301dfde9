"""The browser flow in real Chromium: a broker process, the practice provider, an app's backend, and clicks."""

import httpx2
import pytest
from playwright.sync_api import expect

from tests.journey import NOTHING, exchanges
from tests.web.site import App
from tests.web.windows import PHONE, SCREENS, Opens

pytestmark = pytest.mark.browser


@pytest.fixture
def app(clicked_app: App) -> App:
    """An app at a broker that serves."""
    return clicked_app


@pytest.mark.parametrize("screen", SCREENS)
def test_an_account_is_connected_by_clicking(app: App, window: Opens, sandbox: httpx2.Client, screen: str) -> None:
    """On any screen: read, continue, choose the account, allow, be back; then the app completes."""
    opened = app.open_session(subject_name="Ann Lee", state="s", scopes=["profile", "messages.read"])
    browser = window(**SCREENS[screen])
    browser.page.goto(opened["connect_url"])
    browser.heading("Acme Notes wants to connect to your Practice account")
    expect(browser.page.get_by_text("Read your messages")).to_be_visible()
    browser.picture("connect")
    boxes = [browser.page.get_by_role("button", name=name).bounding_box() for name in ("Continue", "Cancel")]
    sizes = [(round(box["width"]), round(box["height"])) for box in boxes if box]
    assert sizes[0] == sizes[1]  # RFC 10027: saying no is as large as saying yes
    assert min(sizes[0]) >= 44
    browser.press("Continue to Practice")
    browser.page.get_by_text("Bob Practice").click()
    browser.picture("consent")
    browser.press("Allow")
    brought = browser.back_in_the_app()
    assert (brought["connect_session"], brought["state"]) == (opened["id"], "s")
    assert exchanges(sandbox) == NOTHING
    connection = app.complete(opened["id"], brought["completion_code"])["connection"]
    assert connection["account"]["name"] == "bob@practice.example"
    assert exchanges(sandbox) == (1, 0)
    assert len(app.returned) == 1


def test_it_works_without_javascript(app: App, window: Opens) -> None:
    """With scripts switched off the way is the same."""
    opened = app.open_session()
    browser = window(java_script_enabled=False)
    browser.page.goto(opened["connect_url"])
    browser.press("Continue")
    browser.press("Allow")
    brought = browser.back_in_the_app()
    assert app.complete(opened["id"], brought["completion_code"])["connection"]["subject"] == "ann"


@pytest.mark.parametrize("completion", ["app", "browser"])
def test_a_provider_that_asks_nothing(app: App, window: Opens, sandbox: httpx2.Client, completion: str) -> None:
    """The form's POST is redirected at once over provider and callback to the app; our own policy lets it pass."""
    sandbox.post("/control", json={"auto_consent": True}).raise_for_status()
    opened = app.open_session(completion=completion)
    browser = window()
    browser.page.goto(opened["connect_url"])
    browser.press("Continue")
    brought = browser.back_in_the_app()
    assert brought["connect_session"] == opened["id"]
    status = app.session(opened["id"])["status"]
    assert (brought.get("status"), status) in {("connected", "completed"), (None, "awaiting_completion")}


@pytest.mark.parametrize("screen", ["phone", "desktop"])
def test_the_code_to_carry_back(app: App, window: Opens, screen: str) -> None:
    """The page shows a code large enough to read, also after a reload, which completes the session."""
    opened = app.open_session(completion="code")
    browser = window(**SCREENS[screen])
    browser.page.goto(opened["connect_url"])
    browser.press("Continue")
    browser.press("Allow")
    browser.heading("give Acme Notes this code")
    browser.picture("code")
    code = browser.page.locator(".code code").inner_text()
    assert browser.page.url == f"{app.broker.base_url}/connect/{opened['id']}/code"
    browser.page.reload()
    browser.heading("give Acme Notes this code")
    assert browser.page.locator(".code code").inner_text() == code
    assert app.complete(opened["id"], code)["connection"]["subject"] == "ann"
    browser.page.reload()
    browser.heading("This step is done")
    browser.picture("done")


@pytest.mark.parametrize("screen", ["phone", "desktop"])
def test_saying_no_on_our_page(app: App, window: Opens, sandbox: httpx2.Client, screen: str) -> None:
    """Cancel leads back to the app, or to a page that says so; the provider is never visited."""
    browser = window(**SCREENS[screen])
    browser.page.goto(app.open_session()["connect_url"])
    browser.press("Cancel")
    assert browser.back_in_the_app()["error"] == "access_denied"
    browser.page.goto(app.open_session(completion="code")["connect_url"])
    browser.press("Cancel")
    browser.heading("Nothing was connected")
    browser.picture("cancelled")
    assert sandbox.get("/counters").json()["authorize"] == 0


def test_saying_no_at_the_provider(app: App, window: Opens) -> None:
    """Deny leads back to the app as well."""
    browser = window()
    browser.page.goto(app.open_session(state="s")["connect_url"])
    browser.press("Continue")
    browser.press("Deny")
    brought = browser.back_in_the_app()
    assert (brought["error"], brought["state"]) == ("access_denied", "s")


@pytest.mark.parametrize("screen", ["phone", "desktop"])
def test_a_link_in_another_browser(app: App, window: Opens, screen: str) -> None:
    """Who opens a link that another browser has pressed reads what happened and what to do; nothing to press."""
    # B1 B4
    opened = app.open_session()
    first, second = window(), window(**SCREENS[screen])
    first.page.goto(opened["connect_url"])
    first.press("Continue")
    first.page.wait_for_url("**/authorize**")
    shown = second.page.goto(opened["connect_url"])
    assert shown is not None
    assert shown.status == 403
    second.heading("Nothing was connected")
    expect(second.page.get_by_role("button")).to_have_count(0)
    second.picture("error")
    second.complaints.clear()
    first.press("Allow")
    first.back_in_the_app()


def test_the_cookie_in_a_browser(app: App, window: Opens) -> None:
    """It is out of a script's reach, lives ten minutes, and is gone when the browser is back."""
    # B12
    browser = window()
    browser.page.goto(app.open_session()["connect_url"])
    assert browser.context.cookies() == []
    browser.press("Continue")
    browser.page.wait_for_url("**/authorize**")
    (cookie,) = browser.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    lives = cookie["expires"] - browser.page.evaluate("Date.now() / 1000")
    assert 0 < lives <= 600
    browser.press("Allow")
    browser.back_in_the_app()
    assert browser.context.cookies() == []


def test_another_site_can_not_press_the_button(app: App, window: Opens, sandbox: httpx2.Client) -> None:
    """A form that the app's own site sends to the link, from the person's browser, is refused."""
    # B13
    opened = app.open_session()
    app.pages["/trap"] = (
        f'<!doctype html><form method="post" action="{opened["connect_url"]}">'
        '<button name="decision" value="continue">Win</button></form>'
    )
    browser = window()
    browser.page.goto(f"{app.url}/trap")
    browser.press("Win")
    browser.heading("Nothing was connected")
    assert app.session(opened["id"])["status"] == "pending"
    assert browser.context.cookies() == []
    assert sandbox.get("/counters").json()["authorize"] == 0
    browser.complaints.clear()


def test_another_site_can_not_frame_the_page(app: App, window: Opens) -> None:
    """In a frame the page stays blank, and Chromium says why."""
    # B13
    opened = app.open_session()
    app.pages["/frame"] = f'<!doctype html><iframe src="{opened["connect_url"]}"></iframe>'
    browser = window()
    browser.page.goto(f"{app.url}/frame")
    browser.page.wait_for_load_state()
    assert browser.page.frame_locator("iframe").get_by_role("button", name="Continue").count() == 0
    assert any("frame-ancestors" in complaint for complaint in browser.complaints)
    browser.complaints.clear()


def test_hostile_names_stay_text(app: App, window: Opens) -> None:
    """What the app wrote about the person is shown as it is; no script of it runs."""
    # B10
    hostile = "<script>document.title='owned'</script><img src=x onerror=alert(1)>"
    browser = window(**PHONE)
    browser.page.goto(app.open_session(subject_name=hostile, scopes=["<b>bold</b>"])["connect_url"])
    expect(browser.page.get_by_text(hostile).first).to_be_visible()
    assert "owned" not in browser.page.title()
    browser.picture("hostile")
