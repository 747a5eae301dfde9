"""Windows of a real Chromium: what they show, and what they complain about."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from tests.world import parameters_of

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
SCREENS = {
    "phone": PHONE,
    "phone in the dark": {**PHONE, "color_scheme": "dark"},
    "desktop": DESKTOP,
    "desktop in the dark": {**DESKTOP, "color_scheme": "dark"},
}

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium_process() -> Iterator[Browser]:
    """The system's Chromium. Not pytest-playwright's: that one's event loop would run on beside the async tests."""
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_QUIET)
        yield browser
        browser.close()


@dataclass
class Window:
    """A window of a person's browser, and what it complained about."""

    context: BrowserContext
    page: Page
    folder: Path
    complaints: list[str] = field(default_factory=list)

    def picture(self, name: str) -> None:
        """Take a picture of the whole page, and see that nothing sticks out of it."""
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)
        overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert self.page.evaluate(overflow) == 0

    def heading(self, text: str) -> None:
        """Wait for the page with this heading."""
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(text)

    def press(self, button: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=button).click()

    def back_in_the_app(self) -> dict[str, str]:
        """Wait until the app has the browser again; what it brought."""
        self.heading("Back in the app")
        return parameters_of(self.page.url)


Opens = Callable[..., Window]
"""Opens a window; options are those of a browser context."""


def _said(message: str) -> list[str]:
    # It would have every password have a user name; a key for an API has none.
    return (
        [] if message.startswith("[DOM] Password forms should have (optionally hidden) username fields") else [message]
    )


def _failure(request: Request) -> list[str]:
    # Whoever reloads a page, or leaves it, gives up what it was still loading: the icon, mostly.
    return [] if request.failure == "net::ERR_ABORTED" else [f"failed: {request.url} ({request.failure})"]


@contextmanager
def windows(chromium: Browser, folder: Path) -> Iterator[Opens]:
    """Opens windows, each a browser of its own; none may have complained about anything in the end."""
    opened: list[Window] = []

    def new(**options: Any) -> Window:
        context = chromium.new_context(**{"locale": "en-GB", **options})
        context.set_default_timeout(10_000)
        window = Window(context, context.new_page(), folder)
        window.page.on("console", lambda message: window.complaints.extend(_said(message.text)))
        window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
        window.page.on("requestfailed", lambda request: window.complaints.extend(_failure(request)))
        opened.append(window)
        return window

    yield new
    for window in opened:
        window.context.close()
    assert [window.complaints for window in opened] == [[] for _ in opened]
