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
    """Answers one comparison for each number of connections."""
    with stage() as there:
        sides = [there.floor_side(), there.side("redeem", _redemptions(there))]
        return {
            "comparisons": [
                alternate(f"redeem, {many} at once", sides, there.store, effort, connections=many, workers=1)
                for many in ((16,) if effort.quick else (16, 64))
            ]
        }


def _redemptions(there: Stage) -> list[bytes]:
    scopes = ("--scope", "references:issue references:redeem")
    client = there.running.register("redeemer", *scopes)
    who, secret = client["client_id"], client["client_secret"]
    granted = there.http.post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(who, secret))
    issuing = {"Authorization": f"Bearer {granted.raise_for_status().json()['access_token']}"}
    proof = base64.b64encode(f"{who}:{secret}".encode()).decode()
    headers = {"Authorization": f"Basic {proof}", "Content-Type": "application/x-www-form-urlencoded"}

    def redemption(connection_id: str) -> bytes:
        wanted = {"audience": who, "max_uses": _USES, "expires_in": _SECONDS}
        issued = there.http.post(f"/v1/connections/{connection_id}/references", headers=issuing, json=wanted)
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": issued.raise_for_status().json()["reference"],
            "subject_token_type": "urn:broker:token-type:reference",
        }
        return wrk.request("POST", f"{there.running.broker_url}/oauth/token", headers, urlencode(form))

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(redemption, there.connection_ids))
