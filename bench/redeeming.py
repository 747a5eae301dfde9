"""Redeeming references at the token endpoint (RFC 8693), against the naive floor.

A thousand references, one for each of a thousand connections, are redeemed in turn by the client they were made for,
which shows its secret each time. Each may be redeemed a thousand times: more often than it is.
"""

import base64
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from bench import wrk
from bench.rounds import Effort, alternate
from bench.stage import Stage, stage

_USES = 1_000
_SECONDS = 3_600
_AT_ONCE = 8


def measure(effort: Effort) -> dict[str, Any]:
    """Answers one comparison for each number of requests at once."""
    with stage(effort) as there:
        client, forms = redemptions(there)
        proof = base64.b64encode(":".join(client).encode()).decode()
        headers = {"Authorization": f"Basic {proof}", "Content-Type": "application/x-www-form-urlencoded"}
        url = f"{there.running.broker_url}/oauth/token"
        asked = [wrk.request("POST", url, headers, urlencode(form)) for form in forms]
        sides = [there.floor_side(), there.side("redeem", asked)]
        return {
            "comparisons": [
                alternate("redeem", sides, there.store, effort, at_once=many, workers=1)
                for many in ((16,) if effort.quick else (16, 64))
            ]
        }


def redemptions(there: Stage) -> tuple[tuple[str, str], list[dict[str, str]]]:
    """The id and secret of a client, and for each connection the form with which it redeems a reference to it."""
    made = there.running.register("redeemer", "--scope", "references:issue references:redeem")
    client = made["client_id"], made["client_secret"]
    granted = there.http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=client)
    issuing = {"Authorization": f"Bearer {granted.raise_for_status().json()['access_token']}"}

    def redemption(connection_id: str) -> dict[str, str]:
        wanted = {"audience": client[0], "max_uses": _USES, "expires_in": _SECONDS}
        issued = there.http.post(f"/v1/connections/{connection_id}/references", headers=issuing, json=wanted)
        return {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": issued.raise_for_status().json()["reference"],
            "subject_token_type": "urn:broker:token-type:reference",
        }

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return client, list(threads.map(redemption, there.connection_ids))
