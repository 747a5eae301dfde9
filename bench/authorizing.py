"""What to put on a request (``POST /v1/connections/{id}/authorization``), against the naive floor.

The answer holds a bearer token's header, for a request to the practice provider's API; nothing is signed.
"""

import json
from typing import Any

from bench import wrk
from bench.rounds import Effort, alternate
from bench.stage import stage


def measure(effort: Effort) -> dict[str, Any]:
    """Answers one comparison, of 16 requests at once."""
    with stage(effort) as there:
        url = there.running.broker_url
        body = json.dumps({"method": "GET", "url": f"{there.running.provider_url}/api/messages"})
        asked = [
            wrk.request("POST", f"{url}/v1/connections/{one}/authorization", there.headers, body)
            for one in there.connection_ids
        ]
        sides = [there.floor_side(), there.side("authorization", asked)]
        return {
            "comparisons": [alternate("authorization", sides, there.store, effort.fewer(), at_once=16, workers=1)],
        }
