"""A person with a browser: opens links, reads pages, presses buttons. Over real HTTP, like anybody else."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urljoin

import httpx2


@dataclass(slots=True)
class Button:
    """A button of a page, and the form it sends."""

    action: str
    fields: dict[str, list[str]]
    own: dict[str, str]
    label: str = ""

    def form(self) -> dict[str, list[str]]:
        """What pressing it sends, with everything in the form left as the page had it."""
        return {**self.fields, **{name: [value] for name, value in self.own.items()}}


class NoSuchButton(Exception):
    """The page doesn't have what the person looks for."""


class Person:
    """Somebody at a browser that keeps its cookies and goes on only when told."""

    def __init__(self, browser: httpx2.Client) -> None:
        self._browser = browser
        self._page: httpx2.Response | None = None

    def another_tab(self) -> Self:
        """A second tab of the same browser: the same cookies, another page."""
        return type(self)(self._browser)

    @property
    def page(self) -> httpx2.Response:
        """What the browser got last.

        :raises NoSuchButton: nothing yet.
        """
        if self._page is None:
            raise NoSuchButton("no page was opened yet")
        return self._page

    @property
    def sent_to(self) -> str:
        """Where the last answer sends the browser; empty if it is a page to stay on."""
        location = self.page.headers.get("location", "")
        return urljoin(str(self.page.url), location) if location else ""

    def open(self, url: str) -> httpx2.Response:
        """Open a link, and don't go on from there."""
        self._page = self._browser.get(url)
        return self._page

    def follow(self) -> httpx2.Response:
        """Go where the last answer sends the browser."""
        return self.open(self.sent_to)

    def press(self, label: str) -> httpx2.Response:
        """Press the button whose label begins so, and don't go on from there.

        :raises NoSuchButton: the page has none.
        """
        for button in buttons(self.page.text):
            if button.label.startswith(label):
                break
        else:
            raise NoSuchButton(f"the page at {self.page.url.path} has no button {label!r}")
        origin = f"{self.page.url.scheme}://{self.page.url.netloc.decode()}"
        headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
        self._page = self._browser.post(urljoin(str(self.page.url), button.action), data=button.form(), headers=headers)
        return self._page


def buttons(html: str) -> list[Button]:
    """The buttons of a page, in its order."""
    reader = _Reader()
    reader.feed(html)
    for button in reader.buttons:
        button.label = " ".join(button.label.split())
    return reader.buttons


@dataclass(slots=True)
class _Form:
    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[Button] = []
        self._form = _Form("")
        self._in_button = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        name, value = attributes.get("name", ""), attributes.get("value", "")
        match tag:
            case "form":
                self._form = _Form(attributes.get("action", ""))
            case "input" if "checked" in attributes or attributes.get("type") == "hidden":
                self._form.fields.setdefault(name, []).append(value)
            case "button":
                # The fields are shared, so that those after the button belong to it, too.
                self.buttons.append(Button(self._form.action, self._form.fields, {name: value} if name else {}))
                self._in_button = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "button":
            self._in_button = False

    def handle_data(self, data: str) -> None:
        if self._in_button:
            self.buttons[-1].label += data
