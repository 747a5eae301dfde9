"""Tests of :mod:`broker.web.form_pages`: each field as a person, a screen reader and a password manager meet it."""

import re
from html import unescape
from typing import Any

from broker.models.session import Completion
from tests.web.form_page import rendered_form
from tests.web.test_pages import FORM, HOSTILE, read

AGAIN: dict[str, Any] = {
    **FORM,
    "typed": "ada",
    "fault": "is unknown",
    "title": "Not accepted",
    "text": "Look at what is marked.",
}


def fields(**changes: object) -> dict[str, dict[str, str]]:
    """The fields of the form, by name."""
    document = read(rendered_form(**{**FORM, **changes}))
    return {field["name"]: field for field in document.all("input") + document.all("textarea")}


def test_secrets_are_typed_unseen_and_remembered_by_nobody() -> None:
    """Password inputs that no browser fills in, a masked key of several lines; no spelling checked."""  # K1
    name, secret, key = fields().values()
    assert (name["type"], name["autocomplete"], name["value"]) == ("text", "off", "")
    assert (secret["type"], secret["autocomplete"], "value" in secret) == ("password", "new-password", False)
    assert (key["class"], key["autocomplete"], "type" in key) == ("secret", "off", False)
    for field in (name, secret, key):
        assert (field["spellcheck"], field["autocapitalize"], field["autocorrect"]) == ("false", "off", "off")
    assert ["required" in field for field in (name, secret, key)] == [True, True, False]
    assert not any("autofocus" in field for field in (name, secret, key))


def test_no_secret_comes_back_into_the_page() -> None:
    """What is no secret does, so that nobody types it twice."""  # K1
    page = rendered_form(**{**AGAIN, "typed": "typed before"})
    assert bytes(page.body).count(b"typed before") == 1
    assert fields(**{**AGAIN, "typed": "typed before"})["credentials.name"]["value"] == "typed before"
    assert "For your safety, what is secret has to be entered again." in read(page).text


def test_what_is_wrong_is_told_at_its_field() -> None:
    """It is marked, described by the words about it and the help, and has the focus; what is right has none of it."""
    name, secret, _ = fields(**AGAIN).values()
    assert (name["aria-invalid"], name["aria-describedby"]) == (
        "true",
        "credentials.name-wrong credentials.name-hint",
    )
    assert "autofocus" in name
    assert not {"aria-invalid", "autofocus", "aria-describedby"} & secret.keys()
    document = read(rendered_form(**AGAIN))
    assert "Account name is unknown." in document.text
    [alert] = [element for _, element in document.elements if element.get("role") == "alert"]
    assert alert["aria-labelledby"] == "problem-title"
    assert document.title.split() == ["Not", "accepted:", "Connect", "Acme", "Notes", "to", "Example", "Mail"]


def test_the_form_offers_both_decisions_alike() -> None:
    """Connect and Cancel in one POST form; Cancel asks for no field (RFC 10027)."""
    document = read(rendered_form(**FORM))
    connect, cancel = document.all("button")
    assert (connect["name"], connect["value"]) == ("decision", "continue")
    assert (cancel["name"], cancel["value"], "formnovalidate" in cancel) == ("decision", "cancel", True)
    for_a_machine = read(rendered_form(**FORM, completion=Completion.DEVICE, device_name="build-box"))
    assert {button["class"] for button in for_a_machine.all("button")} == {"secondary"}
    assert "A device with Acme Notes wants to use your Example Mail account" in for_a_machine.text
    assert "Device build-box as it calls itself" in for_a_machine.text


def test_scopes_are_what_it_has_to_allow() -> None:
    """In words and as they are; those that are missing stand in the refusal."""
    scopes = [("mail.read", "Read your messages"), (HOSTILE, None)]
    document = read(rendered_form(**FORM, scopes=scopes))
    assert "What Acme Notes needs it for Read your messages mail.read" in document.text
    assert HOSTILE in document.text
    again = read(rendered_form(**AGAIN, scopes=[("mail.read", "Read your messages")]))
    assert again.text.count("Read your messages mail.read") == 2


def test_the_providers_own_page_opens_beside_the_form() -> None:
    """In another window that learns nothing of this one; what is typed already stays. Unknown, there is no link."""
    page = rendered_form(**FORM, url="https://mail.example/keys?new=1&as=b")
    [link] = read(page).all("a")
    assert link == {"href": "https://mail.example/keys?new=1&as=b", "target": "_blank", "rel": "noopener noreferrer"}
    assert not read(rendered_form(**FORM)).all("a")
    assert not re.findall(r"javascript:", unescape(bytes(page.body).decode()))
