"""The ten steps. Each says why it is done this way, shows the real requests, and checks what it says."""

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, Final, NamedTuple

import httpx2
from redis import RedisError

from broker.cli.demo.app import APP_NAME, WORKER_NAME
from broker.cli.demo.exchange import without_secrets
from broker.cli.demo.person import NoSuchButton
from broker.cli.demo.scene import ALICE, MALLORY, Scene, StepFailed
from broker.cli.demo.services import Refused
from broker.cli.demo.strongroom import SEALED

_AT_ONCE: Final = 20
_SLOW_ANSWER_MS: Final = 250
"""How long the provider takes for a refresh: long enough for all fetches to meet it."""

# An answer that lacks what a step reads from it is as wrong as none.
_WRONG: Final = (httpx2.HTTPError, RedisError, Refused, NoSuchButton, LookupError, StopIteration, ValueError)


class Step(NamedTuple):
    """One step, and why it is done this way."""

    title: str
    why: str
    play: Callable[[Scene], None]


def play(steps: Iterable[Step], scene: Scene) -> None:
    """Play ``steps``.

    :raises StepFailed: something is not as it is told.
    :raises ProcessFailed: a program does not start, or ends.
    """
    for step in steps:
        scene.tell.step(step.title, step.why)
        scene.stage.check()
        try:
            step.play(scene)
        except (StepFailed, *_WRONG) as error:
            scene.stage.check_after_fault()
            raise StepFailed(_said(error)) from error


def _said(error: Exception) -> str:
    match error:
        case StepFailed():
            return str(error)
        case KeyError():
            return f"an answer lacks {error}"
        case _:
            return f"{type(error).__name__}: {error}"


def _step(title: str, why: str) -> Callable[[Callable[[Scene], None]], Step]:
    return lambda play: Step(title, why, play)


@_step(
    "Real processes start",
    "nothing is simulated; the programs speak HTTP to each other, as they would over a network.",
)
def _start(scene: Scene) -> None:
    rows = [
        [program.name, str(program.process.pid), program.url, f"{program.ready_after:.2f} s"]
        for program in scene.stage.start()
    ]
    rows.append(["Embedded store", str(scene.stage.store_pid()), "unix socket, append-only file", "with the broker"])
    scene.tell.table(["program", "process", "listens on", "ready after"], rows)


@_step(
    "Two programs are registered as clients of the broker",
    "each gets the scopes it needs and no more; the app connects accounts, the worker gets tokens.",
)
def _register(scene: Scene) -> None:
    for words, registration in scene.stage.register():
        answer = {"client_id": registration.client_id, "client_secret": registration.client_secret}
        scene.tell.command(words, without_secrets(answer))
    app = scene.stage.open_app()
    scene.hire()
    scene.tell.claim(f"{APP_NAME} runs at {app.url}, ready after {app.ready_after:.2f} s")
    scene.refused(
        "The worker can't connect accounts",
        lambda: scene.worker.call("POST", "/v1/connect-sessions", {}),
        "403 insufficient_scope",
    )


@_step(
    "The app opens a connect session",
    "an app that hands out a link needs neither the person's password nor a secret of the provider.",
)
def _ask_for_link(scene: Scene) -> None:
    scene.tell.say(f"{ALICE} is signed in at {APP_NAME} and presses “Connect your mailbox”.")
    scene.sign_in(scene.alice, ALICE)
    scene.alice.press("Connect")
    scene.session_id = scene.show(*scene.acme()).answered["id"]
    at_broker = scene.alice.sent_to.startswith(f"{scene.stage.broker_url}/connect/")
    scene.holds("Her browser is sent to that link, on the broker's own address", at_broker, True)


@_step(
    "The person opens the link, continues, and allows it at the provider",
    "she sees who asks for what before anything happens, and signs in nowhere but at the provider.",
)
def _consent(scene: Scene) -> None:
    alice = scene.alice
    alice.follow()
    scene.show_last()
    scene.holds("Opening the link changed nothing: mail scanners open links, too", scene.session_status(), "pending")
    alice.press("Continue")
    scene.show_last()
    stranger = scene.person("Another browser").open(str(alice.page.url))
    scene.holds("The link is bound to her browser now; in another one: 403", stranger.status_code, 403)
    alice.follow()
    scene.tell.say("She signs in at the provider, reads what is asked, and presses “Allow”.")
    alice.press("Allow")
    alice.follow()
    scene.show_last()
    kept = "awaiting_completion"
    scene.holds("The code is kept, unredeemed, until the app has spoken", scene.session_status(), kept)
    scene.holds("The provider was not asked for a token yet", scene.token_requests(), {})


@_step(
    "The app says who is signed in; only then is the code redeemed",
    "a link can be sent to somebody else, but only the app knows who sits at the browser that comes back.",
)
def _complete(scene: Scene) -> None:
    scene.tell.say(f"First an attack: {MALLORY} starts connecting too, and talks {ALICE} into opening that link.")
    mallory, tab = scene.person(MALLORY), scene.alice.another_tab()
    scene.sign_in(mallory, MALLORY)
    mallory.press("Connect")
    tab.open(mallory.sent_to)
    tab.press("Continue")
    tab.follow()
    tab.press("Allow")
    tab.follow()
    tab.follow()
    code = scene.show(scene.acme()[-1]).answered["code"]
    scene.holds(f"Refused: the link was {MALLORY}'s, but {ALICE} is signed in", code, "subject_mismatch")
    scene.holds(f"Her consent gave {MALLORY} nothing: no code was redeemed", scene.token_requests(), {})

    scene.tell.say(f"Now {ALICE}'s own link: her browser comes back to {APP_NAME}, where she is signed in.")
    scene.alice.follow()
    completed, *scene.fetched = scene.acme()
    scene.connection_id = scene.show(completed).answered["connection"]["id"]
    once = {"authorization_code": {"ok": 1, "error": 0}}
    scene.holds("Now the code was redeemed, once", scene.token_requests(), once)


@_step(
    "A worker gets the token for a reference, and calls the provider",
    "what travels between programs is worthless to everybody else, and after one use to the worker, too.",
)
def _redeem(scene: Scene) -> None:
    scene.show(*(each for each in scene.fetched if each.method == "POST" or each.callee == "provider"))
    scene.alice.follow()
    scene.holds(f"{APP_NAME} shows {ALICE} her messages", "Berth 14" in scene.alice.page.text, True)
    reference = scene.backend.reference(scene.connection_id, audience=scene.worker.client_id)
    scene.worker.redeem(reference)
    scene.refused(
        "A reference works once; the second time", lambda: scene.worker.redeem(reference), "400 invalid_request"
    )


@_step(
    "The access token dies before its time",
    "this provider replaces the refresh token each time it is used: two refreshes at once would lose the account.",
)
def _refresh(scene: Scene) -> None:
    scene.tell.say(f"{ALICE} presses “Let the token expire and fetch”.")
    scene.alice.press("Let the token expire")
    scene.alice.follow()
    exchanges = [each for each in scene.acme() if each.sent.get("grant_type") != "client_credentials"]
    died = next(index for index, each in enumerate(exchanges) if each.status == 401)
    scene.show(*exchanges[died:])

    scene.tell.say(f"It dies again, now for {_AT_ONCE} fetches at the same moment. One of them:")
    before, known = scene.token_requests()["refresh_token"]["ok"], scene.worker.fetch(scene.connection_id)
    scene.stage.provider_control(expire_access_tokens=True, token_delay_ms=_SLOW_ANSWER_MS)
    tokens = scene.fetch_at_once(_AT_ONCE, stale_generation=known["generation"])
    scene.stage.provider_control(token_delay_ms=0)
    scene.show_last()
    different = {token["access_token"] for token in tokens}
    scene.holds(f"{_AT_ONCE} fetches were answered, all with the same token", len(different), 1)
    refreshes = scene.token_requests()["refresh_token"]
    refreshes["ok"] -= before
    scene.holds("The provider counted exactly one refresh, and refused none", refreshes, {"ok": 1, "error": 0})
    scene.access_token = different.pop()
    scene.holds("The new token works at the provider", scene.whoami(), 200)


@_step(
    "The record",
    "no token leaves before its event is stored, so the record is complete and not a best effort.",
)
def _audit(scene: Scene) -> None:
    events = [*reversed(scene.backend.events(scene.connection_id))]
    names: dict[str | None, str] = {scene.stage.registration(name).client_id: name for name in (APP_NAME, WORKER_NAME)}
    rows = []
    for (kind, client_id), group in groupby(events, key=_kind_and_client):
        times = [str(event["at"]).partition("T")[2] for event in group]
        many = f"× {len(times)}" if len(times) > 1 else ""
        rows.append([times[0], kind, many, names.get(client_id, "the broker itself")])
    scene.tell.table(["time (UTC)", "event", "", "asked by"], rows)
    recorded = sum(event["type"] in {"token.released", "reference.redeemed"} for event in events)
    scene.holds(f"All {scene.released} tokens that left the broker stand in the record", recorded, scene.released)


@_step(
    "What the store holds",
    "who steals the database has no token; the key is not in it (AES-256-GCM, one key per connection).",
)
def _look_inside(scene: Scene) -> None:
    strongroom = scene.stage.strongroom()
    record = strongroom.record(scene.connection_id)
    sealed = [(meaning, record[name]) for name, meaning in SEALED.items()]
    scene.tell.say("One sealed envelope each: version, key id, nonce, ciphertext with its tag.")
    rows = [[meaning, f"{envelope[:20].hex(' ')} …", str(len(envelope))] for meaning, envelope in sealed]
    scene.tell.table(["sealed", "what the store holds", "bytes"], rows)
    search = strongroom.search([scene.access_token])
    looked = f"{search.keys} keys and {search.files} files ({search.size / 1000:.0f} kB)"
    scene.holds(f"No token, code or refresh token in {looked}", search.found, 0)
    control = strongroom.search([scene.connection_id])
    scene.holds("The same search does find what is no secret: the connection's id", control.found > 0, True)


@_step(
    "The account is disconnected",
    "deleting a token here would leave it alive at the provider, so the broker has it revoked there.",
)
def _disconnect(scene: Scene) -> None:
    scene.tell.say(f"{ALICE} presses “Disconnect”.")
    scene.alice.press("Disconnect")
    ended = scene.show(*scene.acme())
    scene.holds("The provider revoked the grant", ended.answered["upstream"]["outcome"], "revoked")
    scene.holds("The provider refuses the token that worked a moment ago: 401", scene.whoami(), 401)
    scene.refused(
        "The broker has none to give any more",
        lambda: scene.worker.fetch(scene.connection_id),
        "409 reauth_required",
    )
    left = SEALED.keys() & scene.stage.strongroom().record(scene.connection_id).keys()
    scene.holds("The sealed secrets are gone from the store", left, set())


def _kind_and_client(event: dict[str, Any]) -> tuple[str, str | None]:
    return event["type"], event["client_id"]


BEGINNING: Final = (_start, _register)
"""Everything runs, and a person could take over."""
STORY: Final = (_ask_for_link, _consent, _complete, _redeem, _refresh, _audit, _look_inside, _disconnect)
"""From the link to the disconnected account."""
