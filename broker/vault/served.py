"""What a release hands over where the credential goes onto a request: the secrets, and no more of the record than
decides where they may go. How the connection fared, what the app says of it and what was consented to is not read."""

import json
from collections.abc import Sequence
from typing import Final

from broker.errors import SealBroken
from broker.models.connection import Credential, Minted, Served
from broker.vault.keyring import Keyring
from broker.vault.record_form import destination, place
from broker.vault.stored import made_from

FIELDS: Final = ("d", "s")
"""Those of the record that :func:`served_of` reads, beside what every release answers."""


def served_of(
    keyring: Keyring,
    connection_id: str,
    fields: Sequence[bytes | None],
    *,
    tenant: str,
    provider: str,
    grant_id: str,
    generation: int,
    access_token: str,
) -> tuple[Served, Credential]:
    """The connection as far as it matters, and its credential, of which the access token was opened before.

    :raises SealBroken: the record is damaged, the secrets don't open, or would be sent elsewhere than they were sealed
        for.
    """
    try:
        document, sealed = fields
        told = json.loads(document or b"")
        served = made_from(
            Served,
            told,
            id=connection_id,
            tenant=tenant,
            provider=provider,
            grant_id=grant_id,
            generation=generation,
            minted=made_from(Minted, told["minted"]),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        raise SealBroken(f"the stored record of {connection_id} is damaged") from None
    belongs = place(tenant, connection_id, provider=provider, grant_id=grant_id, field="secrets", generation=generation)
    rest = json.loads(keyring.open(belongs, sealed or b""))
    if rest.get("destination") != destination(served):
        raise SealBroken(f"where the secrets of {connection_id} may be sent is not what was sealed with them")
    return served, Credential(
        access_token, rest.get("refresh_token"), rest.get("previous_refresh_token"), rest.get("fields", {})
    )
