"""A small OAuth client app that drives the practice provider the way a real one would."""

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

REDIRECT_URI = "http://127.0.0.1:9/callback"
VERIFIER = "a-verifier-with-enough-characters-to-be-one-0123"


def challenge_of(verifier: str) -> str:
    """The S256 challenge of ``verifier`` (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


CHALLENGE = challenge_of(VERIFIER)
CREDENTIALS = ("practice-client", "practice-secret")
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ALL_SCOPES = "profile messages.read messages.write offline_access"


class App:
    """Speaks as ``practice-client``; every method is one HTTP request unless it says otherwise."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def request(self, **changes: str | None) -> dict[str, str]:
        """The parameters of a good authorization request, with changes; ``None`` leaves one out."""
        parameters: dict[str, str | None] = {
            "response_type": "code",
            "client_id": CREDENTIALS[0],
            "redirect_uri": REDIRECT_URI,
            "scope": ALL_SCOPES,
            "state": "st-1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def authorize(self, **changes: str | None) -> httpx2.Response:
        return self.http.get("/authorize", params=self.request(**changes))

    def consent_form(self, **changes: str | None) -> dict[str, Any]:
        """Ask for the consent page and answer its form as it stands, decided "allow"."""
        return filled(self.authorize(**changes).text)

    def decide(self, form: dict[str, Any]) -> httpx2.Response:
        return self.http.post("/authorize", data=form)

    def code(self, **changes: str | None) -> str:
        """Ask and allow everything (two requests); the code that comes back."""
        return answer(self.decide(self.consent_form(**changes)))["code"]

    def token(self, form: Mapping[str, str | None], *, auth: tuple[str, str] = CREDENTIALS) -> httpx2.Response:
        data = {name: value for name, value in form.items() if value is not None}
        return self.http.post("/token", data=data, auth=auth)

    def redeem(self, code: str, **changes: str | None) -> httpx2.Response:
        bound = {"redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
        return self.token({"grant_type": "authorization_code", "code": code, **bound, **changes})

    def connect(self, **changes: str | None) -> dict[str, Any]:
        """Ask, allow and redeem (three requests); the token answer."""
        tokens: dict[str, Any] = self.redeem(self.code(**changes)).raise_for_status().json()
        return tokens

    def refresh(self, refresh_token: str, **changes: str | None) -> httpx2.Response:
        return self.token({"grant_type": "refresh_token", "refresh_token": refresh_token, **changes})

    def begin_device(self, scope: str = ALL_SCOPES, *, auth: tuple[str, str] = CREDENTIALS) -> httpx2.Response:
        return self.http.post("/device_authorization", data={"scope": scope}, auth=auth)

    def device(self, scope: str = ALL_SCOPES) -> dict[str, Any]:
        """Begin a device login; the answer."""
        codes: dict[str, Any] = self.begin_device(scope).raise_for_status().json()
        return codes

    def poll(self, device_code: str, *, auth: tuple[str, str] = CREDENTIALS) -> httpx2.Response:
        return self.token({"grant_type": DEVICE_GRANT, "device_code": device_code}, auth=auth)

    def device_form(self, user_code: str) -> dict[str, Any]:
        """Open the page of a device and answer its form as it stands, decided "allow"."""
        page = self.http.get("/device", params={"user_code": user_code}).raise_for_status().text
        return {**filled(page), "user_code": re.findall(r'name="user_code" value="([^"]+)"', page)[0]}

    def decide_device(self, form: dict[str, Any]) -> httpx2.Response:
        return self.http.post("/device", data=form)

    def whoami(self, access_token: str) -> httpx2.Response:
        return self.http.get("/whoami", headers={"Authorization": f"Bearer {access_token}"})

    def control(self, **changes: object) -> None:
        self.http.post("/control", json=changes).raise_for_status()

    def counters(self) -> Any:
        return self.http.get("/counters").raise_for_status().json()


def filled(page: str) -> dict[str, Any]:
    """The form of a consent page as it stands, decided "allow"."""
    return {
        "form_token": re.findall(r'name="form_token" value="([^"]+)"', page)[0],
        "account": re.findall(r'name="account" value="([^"]+)" checked', page)[0],
        "scope": re.findall(r'name="scope" value="([^"]+)" checked', page),
        "decision": "allow",
    }


def answer(response: httpx2.Response) -> dict[str, str]:
    """The parameters a redirect carries back to the app; fails if it isn't one to :data:`REDIRECT_URI`."""
    assert response.status_code == 303
    location = urlsplit(response.headers["location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == REDIRECT_URI
    return dict(parse_qsl(location.query, strict_parsing=True))
