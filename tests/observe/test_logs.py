"""Redaction: nothing that looks like a secret gets through, whoever logs it and however deep it sits. K1."""

from dataclasses import dataclass
from typing import Any

import pytest

from broker.models.ids import bearing_secret, new_id, new_secret
from broker.observe.logs import REDACTED, redact

SECRET = "s3cr3t-value-nobody-may-read"


def redacted(**event: Any) -> Any:
    """The event as it is written."""
    return redact(None, "info", event)


@dataclass
class Thing:
    """Something whose repr tells all."""

    header: str


@pytest.mark.parametrize(
    "key",
    [
        "access_token", "refresh_token", "subject_token", "token", "client_secret", "password", "Authorization",
        "cookie", "set-cookie", "code_verifier", "credentials", "api_key", "apikey", "client_assertion", "code",
        "completion_code", "device_code", "authorization_code", "state", "private_key", "encryption_key", "passphrase",
    ],
)  # fmt: skip
def test_a_value_under_the_name_of_a_secret_is_redacted(key: str) -> None:
    """Whatever stands under such a key is gone, also in a structure and whatever its type."""
    assert redacted(**{key: SECRET}) == {key: REDACTED}
    assert redacted(outer=[{"inner": {key: SECRET}}]) == {"outer": [{"inner": {key: REDACTED}}]}
    assert redacted(**{key: [SECRET, {"deep": SECRET}]}) == {key: REDACTED}
    assert redacted(**{key: SECRET.encode()}) == {key: REDACTED}


@pytest.mark.parametrize("key", ["status_code", "error_code", "token_type", "token_endpoint", "credential_type"])
def test_a_harmless_name_that_sounds_like_a_secret_stays(key: str) -> None:
    """Names that only sound like secrets are readable."""
    assert redacted(**{key: "plain"}) == {key: "plain"}


@pytest.mark.parametrize(
    "secret",
    [
        new_secret("bat"),
        new_secret("bcs"),
        bearing_secret("ref", new_id("con")),
        bearing_secret("ch", new_id("cs")),
        bearing_secret("st", new_id("cs")),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.dBjftJeZ4CVPmB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    ],
    ids=["broker token", "client secret", "reference", "link", "state", "signed token"],
)
def test_a_secret_is_known_by_its_shape_wherever_it_stands(secret: str) -> None:
    """In the message, in a list, in an address, in an exception, in bytes, as a key."""
    event = redacted(
        event=f"redeeming {secret} now",
        items=[secret, (secret,), {secret}],
        address=f"/connect/{secret}?x=1",
        error=ValueError(f"bad value {secret!r}"),
        raw=f"{secret}\r\n".encode(),
        table={secret: 1},
        thing=Thing(secret),
    )
    assert secret not in str(event)
    assert event["event"] == f"redeeming {REDACTED} now"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: basic {SECRET}",
        f"POST /token?code={SECRET}&x=1",
        f"code={SECRET}",
        f"grant_type=refresh_token&refresh_token={SECRET}",
        f"a=1; client_secret={SECRET}",
        f"https://app.example/cb?state={SECRET}",
        f'{{"access_token": "{SECRET}", "token_type": "Bearer"}}',
        f"{{'refresh_token': '{SECRET}'}}",
        f'{{\\"id_token\\":\\"{SECRET}\\"}}',
        f"[(b'authorization', b'Token {SECRET}'), (b'cookie', b'sid={SECRET}')]",
        f"redis://:{SECRET}@store:6379/0",
        f"redis://user:{SECRET}@store:6379/0",
        f"https://{SECRET}@api.example/x",
    ],
)
def test_a_secret_inside_a_text_is_redacted(text: str) -> None:
    """Headers, addresses, forms, JSON and what a traceback shows of dictionaries."""
    assert SECRET not in str(redacted(event=text))
    assert SECRET not in str(redacted(error=RuntimeError(text)))
    assert SECRET not in str(redacted(thing=Thing(text)))


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:8400/v1/connections?subject=a@b.example",
        "the provider answered 400: invalid_grant",
        "con_0123456789ABCDEFGHIJKL refreshed to generation 7",
        "the state of affairs: code freeze",
        "reference.issued",
    ],
)
def test_an_ordinary_line_stays_readable(text: str) -> None:
    """Redaction takes secrets, not sentences."""
    assert redacted(event=text) == {"event": text}


def test_plain_values_keep_their_types() -> None:
    """Numbers, truth and nothing are written as they are."""
    plain = {"count": 3, "ratio": 0.5, "ok": True, "nothing": None}
    assert redacted(**plain) == plain
