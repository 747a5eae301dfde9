"""What each type of provider takes, in the entry's own words."""

from pathlib import Path

import pytest

from broker.providers import Provider
from broker.providers.kinds import KINDS
from broker.providers.private_keys import read_private_key
from broker.settings import read_environment
from tests.pems import RSA_PEM, UNUSABLE
from tests.providers.conftest import Faults, Load

KEY_NUMBERS = read_private_key(RSA_PEM).private_numbers()
APP = "providers:\n  app:\n    display_name: App\n    type: github_app\n    api: {base_url: https://api.example}\n"


def test_the_entrys_words_change_what_they_name_and_nothing_else(load: Load) -> None:
    """A label of one's own doesn't turn a user's name into a secret, or a private key into one line."""
    provider = load(
        "providers:\n  a:\n    display_name: A\n    type: basic\n"
        "    fields: {username: {label: E-mail, pattern: '.+@.+'}, password: {label: API token}}\n"
    ).get("a")
    username, password, domain = provider.credential_fields.values()
    assert (username.label, username.secret, username.pattern) == ("E-mail", False, ".+@.+")
    assert (password.label, password.secret) == ("API token", True)
    assert domain == KINDS["basic"].fields["domain"]
    assert provider.public_fields == {"username", "domain"}


def test_what_a_provider_does_not_have_is_not_asked_for(load: Load, faults: Faults) -> None:
    """A part that may be missing can be left out of forms and requests; one that is needed can't."""
    entry = "providers:\n  a:\n    display_name: A\n    type: basic\n    fields: {%s: {label: X, asked: false}}\n"
    provider = load(entry % "domain").get("a")
    assert set(provider.credential_fields) == set(provider.form_fields) == {"username", "password"}
    assert "providers.a: fields.password is needed" in faults(entry % "password")[0]


@pytest.mark.parametrize(
    ("scheme", "token"),
    [
        ("headers: {X-Key: '{key_id}:{secret}'}", "secret"),
        ("query: {key: '{secret}'}", "secret"),
        ("headers: {X-Key: '{mac}'}\n    computed: {mac: {function: hmac, key: '{secret}', over: '{path}'}}", None),
    ],
)
def test_a_secret_that_only_signs_is_no_token(load: Load, scheme: str, token: str | None) -> None:
    """It never travels, so nobody who fetches a token could do anything with it but sign."""
    provider = load(
        "providers:\n  a:\n    display_name: A\n    type: custom\n"
        "    fields: {key_id: {label: Key ID, secret: false}, secret: {label: Secret}}\n"
        f"    {scheme}\n"
    ).get("a")
    assert (provider.token_field, provider.releases_tokens) == (token, token is not None)


def test_an_app_without_a_key_of_the_entry_takes_one_from_each_connection(load: Load) -> None:
    """And its client id with it."""
    assert set(load(APP).get("app").credential_fields) == {"installation_id", "client_id", "private_key"}
    own = load(APP + "    client_id: a\n    private_key: ${KEY}\n", {"KEY": RSA_PEM}).get("app")
    assert set(own.credential_fields) == {"installation_id"}
    assert own.ready


def test_people_do_not_choose_among_the_installations_of_the_entrys_app(load: Load) -> None:
    """With the app's key a number that anybody can guess would be all it takes to get what is installed elsewhere."""
    assert load(APP).get("app").connects_by == "form"
    own = load(APP + "    client_id: a\n    private_key: ${KEY}\n", {"KEY": RSA_PEM}).get("app")
    assert own.connects_by is None


def test_a_form_asks_for_the_file_that_a_person_has(load: Load) -> None:
    """A service account comes as a file; who it acts for doesn't stand in there."""
    provider: Provider = load(
        "providers:\n  a:\n    display_name: A\n    type: google_service_account\n"
        "    token_endpoint: https://a.example/token\n"
    ).get("a")
    assert list(provider.form_fields) == ["key_file", "subject"]
    assert provider.form_fields["key_file"].multiline
    assert load(APP).get("app").form_fields == load(APP).get("app").credential_fields


@pytest.mark.parametrize(
    "variable", ['"{}"', "'{}'", '"{escaped}"', "'{escaped}'", "{escaped}"], ids=lambda form: f"KEY={form}"
)
def test_a_private_key_may_stand_in_an_environment_file(load: Load, tmp_path: Path, variable: str) -> None:
    """In quotes as it is, or in one line."""
    file = tmp_path / ".env"
    file.write_text(f"KEY={variable.format(RSA_PEM, escaped=RSA_PEM.replace(chr(10), chr(92) + 'n'))}\n")
    environ = read_environment({}, file)
    own = load(APP + "    client_id: a\n    private_key: ${KEY}\n", environ).get("app")
    assert own.private_key is not None
    assert own.ready
    # As it is read again where it signs.
    assert read_private_key(own.private_key.get_secret_value()).private_numbers() == KEY_NUMBERS


@pytest.mark.parametrize("pem", UNUSABLE.values(), ids=UNUSABLE)
def test_a_private_key_that_can_not_sign_is_a_fault(faults: Faults, pem: str) -> None:
    """Told when the file is loaded, with its line, and never with the key."""  # K1
    (found,) = faults(APP + "    client_id: a\n    private_key: ${KEY}\n", {"KEY": pem})
    assert found.startswith("providers.yaml:7: providers.app.private_key: is no ")
    assert not [line for line in pem.splitlines() if line in found]


def test_only_an_app_puts_the_installation_into_an_address(faults: Faults, load: Load) -> None:
    """Elsewhere the name means nothing."""
    address = "    token_endpoint: https://api.example/{installation_id}/tokens\n"
    assert load(APP + address).get("app").token_endpoint
    assert "uses {installation_id}" in faults(APP.replace("github_app", "google_service_account") + address)[0]
