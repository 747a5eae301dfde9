"""Tests of :mod:`broker.web.pages`: what each page says, does not contain, and is sent with."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.responses import HTMLResponse

from broker.models.session import Completion
from broker.web import device_pages, pages
from broker.web.moments import moment
from tests.web.form_page import rendered_form

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}&lt;</title></bdi>"

FORM: dict[str, Any] = {
    "action": "/connect/handle",
    "app_name": "Acme Notes",
    "provider_name": "Example Mail",
    "subject_name": "Ada Lovelace",
    "return_host": "app.acme.example",
    "label": "Account name",
    "words": "as on your badge",
    "where": "Example Mail, Settings, Keys.",
}

PAGES: dict[str, tuple[Callable[..., HTMLResponse], dict[str, Any]]] = {
    "connect": (
        pages.connect_page,
        {
            "action": "/connect/handle",
            "app_name": "Acme Notes",
            "provider_name": "Example Mail",
            "subject_name": "Ada Lovelace",
            "scopes": [("mail.read", "Read your messages"), ("mail.raw", None)],
            "reconnect": False,
            "return_host": "app.acme.example",
        },
    ),
    "connect form": (rendered_form, FORM),
    "connect form again": (
        rendered_form,
        {**FORM, "typed": "ada", "fault": "is unknown", "title": "Not accepted", "text": "Look at what is marked."},
    ),
    "device form": (
        rendered_form,
        {**FORM, "app_name": "Acme CLI", "completion": Completion.DEVICE, "device_name": "build-box"},
    ),
    "code": (
        pages.code_page,
        {
            "app_name": "Acme Notes",
            "provider_name": "Example Mail",
            "code": "WDJB-MJHT",
            "expires_in_minutes": 5,
        },
    ),
    "connected": (
        pages.connected_page,
        {"app_name": "Acme Notes", "provider_name": "Example Mail", "account_name": "ada@mail.example"},
    ),
    "done": (pages.done_page, {"app_name": "Acme Notes", "provider_name": "Example Mail"}),
    "cancelled": (pages.cancelled_page, {"app_name": "Acme Notes", "provider_name": "Example Mail"}),
    "device code": (device_pages.code_form_page, {"action": "/device"}),
    "device wrong code": (device_pages.code_form_page, {"action": "/device", "wrong_code": "WDJB-MJHT"}),
    "device question": (
        device_pages.question_page,
        {
            "action": "/device",
            "code": "WDJB-MJHT",
            "app_name": "Acme CLI",
            "provider_name": "Example Mail",
            "device_name": "build-box",
            "address": "203.0.113.7",
            "asked": moment(0, 150_000),
            "scopes": [("mail.read", "Read your messages"), ("mail.raw", None)],
            "by_form": False,
        },
    ),
    "device approved": (
        device_pages.approved_page,
        {
            "app_name": "Acme CLI",
            "provider_name": "Example Mail",
            "device_name": "build-box",
            "account_name": "ada@mail.example",
            "manage_path": "/device/logins/dh_1_2",
        },
    ),
    "device declined": (
        device_pages.declined_page,
        {"app_name": "Acme CLI", "provider_name": "Example Mail"},
    ),
    "device login": (
        device_pages.login_page,
        {
            "action": "/device/logins/dh_1_2",
            "app_name": "Acme CLI",
            "provider_name": "Example Mail",
            "account_name": "ada@mail.example",
            "device_name": "build-box",
            "address": "203.0.113.7",
            "since": moment(0, 86_400_000),
            "last_used": moment(86_400_000, 86_500_000),
        },
    ),
    "device uncollected": (device_pages.uncollected_page, {"action": "/device/logins/dh_x"}),
    "device logged out": (device_pages.logged_out_page, {}),
    "error": (
        pages.error_page,
        {
            "status": 403,
            "title": "This link belongs to another browser",
            "message": "A connection is finished where it was started.",
            "hint": "Start again in the app.",
            "request_id": "req_1",
        },
    ),
}
FORMS = {"connect form", "connect form again", "device form"}
TO_PROVIDERS = {"connect", "device question", *FORMS}
TO_OURSELVES = {"device code", "device wrong code", "device login", "device uncollected"}
REFUSALS = {"error", "device wrong code", "connect form again"}
END_PAGES = sorted(PAGES.keys() - TO_PROVIDERS - TO_OURSELVES)
UNTRUSTED = [
    (page, name)
    for page, (_, args) in PAGES.items()
    for name in args
    if isinstance(args[name], str) and not isinstance(args[name], Completion)
]


@dataclass
class Document(HTMLParser):
    """A page as a browser reads it: the elements with their attributes, and the text."""

    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title += data
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def shape(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.elements]


def read(response: HTMLResponse) -> Document:
    document = Document()
    document.feed(bytes(response.body).decode())
    document.close()
    document.text = " ".join(document.text.split())
    return document


def render(page: str, **changes: object) -> HTMLResponse:
    function, arguments = PAGES[page]
    return function(**{**arguments, **changes})


@pytest.mark.parametrize(("page", "argument"), UNTRUSTED)
def test_hostile_text_stays_text(page: str, argument: str) -> None:
    """Whatever stands in an argument, the page keeps its elements and shows the text as it is."""
    # B10
    document = read(render(page, **{argument: HOSTILE}))
    assert document.shape == read(render(page)).shape
    if argument == "action":
        [form] = document.all("form")
        assert (form["method"], form["action"]) == ("post", HOSTILE)
    elif argument in {"manage_path", "wrong_code", "typed"}:
        assert HOSTILE in [value for _, element in document.elements for value in element.values()]
    else:
        assert HOSTILE in document.text


def test_hostile_scopes_stay_text() -> None:
    """A scope and its sentence are escaped too."""
    # B10
    hostile = read(render("connect", scopes=[(HOSTILE, HOSTILE), (HOSTILE, None)]))
    assert hostile.shape == read(render("connect")).shape
    assert hostile.text.count(HOSTILE) == 3


@pytest.mark.parametrize("page", PAGES)
def test_headers_of_every_page(page: str) -> None:
    """No page may be framed, cached, sniffed, or load anything but our own styles and images."""
    # B10 B13
    headers = render(page).headers
    policy = headers["content-security-policy"].split("; ")
    assert policy[:-1] == [
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]


def test_only_a_question_may_submit_a_form() -> None:
    """What leads to the provider may lead on to a native app; other forms stay with us; other pages have none."""
    # B10
    policies = {page: render(page).headers["content-security-policy"].split("; ")[-1] for page in PAGES}
    to_providers = {policies.pop(page) for page in TO_PROVIDERS}
    assert to_providers == {"form-action 'self' https: http://localhost:* http://127.0.0.1:*"}
    assert {policies.pop(page) for page in TO_OURSELVES} == {"form-action 'self'"}
    assert set(policies.values()) == {"form-action 'none'"}


@pytest.mark.parametrize("page", PAGES)
def test_nothing_active_and_nothing_foreign(page: str) -> None:
    """No script, no inline style, no handler, and every address stays on our own origin."""
    # B10
    document = read(render(page))
    assert not {tag for tag, _ in document.elements} & {"script", "style", "iframe", "object", "base"}
    attributes = [item for _, element in document.elements for item in element.items()]
    assert not [name for name, _ in attributes if name == "style" or name.startswith("on")]
    addresses = [value for name, value in attributes if name in {"href", "src", "action"}]
    assert addresses
    assert all(re.match(r"/[^/\\]", address) for address in addresses)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_read_by_any_device(page: str) -> None:
    """Language, viewport, one heading, the landmarks and a title of its own are there."""
    document = read(render(page))
    assert document.all("html") == [{"lang": "en"}]
    assert "width=device-width" in [meta.get("content", "") for meta in document.all("meta")][1]
    assert [len(document.all(tag)) for tag in ("h1", "header", "main", "footer", "title")] == [1] * 5
    assert {"rel": "stylesheet", "href": pages.stylesheet_href} in document.all("link")
    identifiers = {attributes["id"] for _, attributes in document.elements if "id" in attributes}
    pointers = [
        attributes.get(name, "").split()
        for _, attributes in document.elements
        for name in ("aria-labelledby", "aria-describedby", "for")
    ]
    assert {identifier for pointed in pointers for identifier in pointed} == identifiers
    others = {read(render(other)).title for other in PAGES if other != page}
    assert document.title.strip()
    assert document.title not in others


@pytest.mark.parametrize("page", END_PAGES)
def test_end_pages_offer_nothing_to_press(page: str) -> None:
    """Where the way ends there is no button, form or field; a link only to the person's own page about a machine."""
    document = read(render(page))
    assert not {tag for tag, _ in document.elements} & {"button", "form", "input", "select"}
    assert [link["href"] for link in document.all("a")] == ["/device/logins/dh_1_2"] * (page == "device approved")


def test_connect_page_says_who_for_whom_and_what() -> None:
    """The question names the app, the provider, the person, each scope in words and raw, and the way back."""
    document = read(render("connect"))
    assert "Acme Notes wants to connect to your Example Mail account" in document.text
    assert "For whom Ada Lovelace" in document.text
    assert "Then back to app.acme.example" in document.text
    assert "Read your messages mail.read" in document.text
    assert "mail.raw" in document.text
    assert "You will sign in at Example Mail. Acme Notes never sees your password." in document.text
    assert "withdraw this access" in document.text


def test_connect_page_offers_both_decisions_alike() -> None:
    """Continue and Cancel are buttons of one POST form, with nothing preselected (RFC 10027)."""
    document = read(render("connect"))
    assert document.all("form") == [{"method": "post", "action": "/connect/handle"}]
    decisions = [(button["type"], button["name"], button["value"]) for button in document.all("button")]
    assert decisions == [("submit", "decision", "continue"), ("submit", "decision", "cancel")]
    assert not document.all("input")
    assert "Continue to Example Mail Cancel" in document.text


def test_connect_page_leaves_out_what_is_not_known() -> None:
    """Without scopes, person and return address the page says what is still true and shows no empty row."""
    document = read(render("connect", subject_name=None, return_host=None, scopes=[], reconnect=True))
    assert "Acme Notes wants to renew its connection to your Example Mail account" in document.text
    assert "Example Mail itself shows you what Acme Notes can access" in document.text
    assert "Continue only if you started this in Acme Notes yourself." in document.text
    assert not document.all("dl") + document.all("ul")
    assert "None" not in document.text


def test_the_question_about_a_machine_says_all_that_is_known() -> None:
    """Who asks, how the machine calls itself, from where, when, for what; the code to compare; and the warning."""
    # D5
    document = read(render("device question"))
    assert "A device with Acme CLI wants to use your Example Mail account" in document.text
    assert "Does your device show this code? WDJB-MJHT" in document.text
    assert "Who asks Acme CLI Device build-box as it calls itself From 203.0.113.7 network address" in document.text
    assert "When 2 minutes ago 1 January 1970, 00:00 UTC" in document.text
    assert "Read your messages mail.read" in document.text
    assert "Did somebody else send you the link or the code? Then decline" in document.text
    unknown = read(render("device question", device_name=None, address="", scopes=[]))
    assert "as it calls itself" not in unknown.text
    assert "From unknown" in unknown.text
    assert "Example Mail itself shows you" in unknown.text


def test_the_question_about_a_machine_offers_both_decisions_alike() -> None:
    """Two buttons of one POST form and one look, nothing preselected and nothing to submit by Enter (RFC 10027)."""
    # D5
    document = read(render("device question"))
    buttons = document.all("button")
    assert [(button["name"], button["value"]) for button in buttons] == [
        ("decision", "approve"),
        ("decision", "decline"),
    ]
    assert len({(button["class"], button["type"]) for button in buttons}) == 1
    assert document.all("input") == [{"type": "hidden", "name": "user_code", "value": "WDJB-MJHT"}]
    assert "Approve and continue to Example Mail Decline" in document.text


def test_the_form_for_the_code_suits_a_phone() -> None:
    """Text keyboard with capitals, nothing remembered or corrected; a wrong code is named for whoever can't see."""
    [field] = read(render("device code")).all("input")
    wanted = {"inputmode": "text", "autocapitalize": "characters", "autocomplete": "off", "spellcheck": "false"}
    assert wanted.items() <= field.items()
    assert (field["value"], "aria-invalid" in field) == ("", False)
    wrong = read(render("device wrong code"))
    [field] = wrong.all("input")
    assert (field["value"], field["aria-invalid"], field["aria-describedby"]) == ("WDJB-MJHT", "true", "wrong spelling")
    assert "This code is not valid, or not any longer." in wrong.text


def test_a_code_stands_in_no_title() -> None:
    """Titles stay in histories and on screens."""
    assert not [page for page in PAGES if "WDJB" in read(render(page)).title]


@pytest.mark.parametrize(("minutes", "words"), [(1, "for 1 minute."), (5, "for 5 minutes.")])
def test_code_page_shows_the_code_and_where_it_goes(minutes: int, words: str) -> None:
    """The code stands on the page and not in its title, with its lifetime and a warning."""
    # B5
    document = read(render("code", expires_in_minutes=minutes))
    assert "WDJB-MJHT" in document.text
    assert "WDJB-MJHT" not in document.title
    assert words in document.text
    assert "Go back to where you started" in document.text
    assert "don't pass the code on" in document.text


def test_ends_without_an_app_to_return_to_say_what_happened() -> None:
    """The good end names the account where it is known; the end after a no says the app has got nothing."""
    named = read(render("connected"))
    assert "Example Mail account ada@mail.example. You can close this window." in named.text
    unnamed = read(render("connected", account_name=None))
    assert "Example Mail account. You can close this window." in unnamed.text
    done = read(render("done"))
    assert "Acme Notes has taken your code and was connected to your Example Mail account" in done.text
    cancelled = read(render("cancelled"))
    assert "Acme Notes has no new access to your Example Mail account" in cancelled.text


def test_error_page_keeps_its_status_and_shows_the_request_id() -> None:
    """An error says what happened, what to do and which id to mention; other pages answer 200."""
    response = render("error")
    assert response.status_code == 403
    text = read(response).text
    assert "This link belongs to another browser A connection is finished where it was started." in text
    assert "What you can do Start again in the app." in text
    assert "req_1" in text
    assert "What you can do" not in read(render("error", hint=None)).text
    assert {render(page).status_code for page in PAGES if page not in REFUSALS} == {200}
