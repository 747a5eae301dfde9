"""What every step has at hand: the people, both clients, what was heard; and how a claim is checked."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from broker.cli.demo.app import PEOPLE
from broker.cli.demo.exchange import Exchange, shortened
from broker.cli.demo.narration import Narrator
from broker.cli.demo.person import Person
from broker.cli.demo.services import Backend, Refused, Worker
from broker.cli.demo.stage import Stage

ALICE, MALLORY = PEOPLE.values()


class StepFailed(Exception):
    """A claim of the story does not hold."""


class Scene:
    """The stage with the people on it, and what the steps hand on to each other."""

    backend: Backend
    """Acme's backend, for what its pages have no button for; from the second step on."""
    worker: Worker

    def __init__(self, stage: Stage, narrator: Narrator) -> None:
        self.stage = stage
        self.tell = narrator
        self.released = 0
        """How many access tokens of the provider have left the broker."""
        self._heard: list[Exchange] = []
        self.alice = self.person(ALICE)
        self.session_id = ""
        self.connection_id = ""
        self.fetched: list[Exchange] = []
        """What the app and its worker sent right after the connection was made."""
        self.access_token = ""

    def person(self, name: str) -> Person:
        """Somebody with a browser of their own."""
        return Person(self.stage.client(f"{name}'s browser", self._hear))

    def hire(self) -> None:
        """Let backend and worker take part, as the clients that were registered."""
        self.backend, self.worker = self.stage.backend(self._hear), self.stage.worker(self._hear)

    def sign_in(self, person: Person, name: str) -> None:
        """Open the app and sign in."""
        person.open(self.stage.app_url)
        person.press(name)
        person.follow()

    def holds(self, claim: str, got: object, expected: object) -> None:
        """Tell a claim that holds.

        :raises StepFailed: it doesn't.
        """
        if got != expected:
            raise StepFailed(f"{claim}\n  expected: {shortened(str(expected))}\n  got:      {shortened(str(got))}")
        self.tell.claim(claim)

    def refused(self, claim: str, call: Callable[[], object], expected: str) -> None:
        """Tell that ``call`` is refused with status and code ``expected``.

        :raises StepFailed: it isn't, or otherwise.
        """
        try:
            call()
        except Refused as error:
            outcome = f"{error.status} {error.code}"
        else:
            outcome = "accepted"
        self.holds(f"{claim}: {expected}", outcome, expected)

    def show(self, *exchanges: Exchange) -> Exchange:
        """Tell exchanges; answers the last one."""
        for exchange in exchanges:
            self.tell.exchange(exchange)
        return exchanges[-1]

    def show_last(self) -> None:
        """Tell what was heard last."""
        self.show(self._heard[-1])

    def acme(self) -> list[Exchange]:
        """What the app and its worker have sent since the last call.

        :raises StepFailed: nothing.
        """
        exchanges = self.stage.trace.new()
        if not exchanges:
            raise StepFailed("the app should have sent a request, and sent none")
        self.released += sum(map(_releases, exchanges))
        return exchanges

    def session_status(self) -> str:
        """Where Alice's attempt to connect stands."""
        return str(self.backend.session(self.session_id)["status"])

    def token_requests(self) -> dict[str, dict[str, int]]:
        """What the provider's token endpoint was asked so far, and how often it agreed."""
        asked: dict[str, dict[str, int]] = self.stage.provider_counters()["token"]
        return {grant: counts for grant, counts in asked.items() if any(counts.values())}

    def whoami(self) -> int:
        """How the provider answers to the access token."""
        return self.worker.ask_provider("/whoami", self.access_token).status_code

    def fetch_at_once(self, count: int, *, stale_generation: int) -> list[dict[str, Any]]:
        """So many fetches of the access token at the same moment."""

        def fetch(_: int) -> dict[str, Any]:
            return self.worker.fetch(self.connection_id, stale_generation=stale_generation)

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(fetch, range(count)))

    def _hear(self, exchange: Exchange) -> None:
        self._heard.append(exchange)
        self.released += _releases(exchange)


def _releases(exchange: Exchange) -> bool:
    """Whether an access token of the provider left the broker."""
    return exchange.callee == "broker" and {"access_token", "connection_id"} <= exchange.answered.keys()
