"""What a release hands over where the credential goes onto a request: the secrets, and no more of the record than
decides where they may go. How the connection fared, what the app says of it and what was consented to is not read."""

import json
from collections.abc import Sequence
from typing import Final

from broker.errors import SealBroken
from broker.models.connection import Credential, Served
from broker.vault.keyring import Keyring
from broker.vault.record_documents import secrets_of, served_by
from broker.vault.record_form import place
from broker.vault.stored import UNREADABLE

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
        served = Served(
            id=connection_id,
            tenant=tenant,
            provider=provider,
            grant_id=grant_id,
            generation=generation,
            **served_by(json.loads(document or b"")),
        )
        belongs = place(
            tenant, connection_id, provider=provider, grant_id=grant_id, field="secrets", generation=generation
        )
        return served, secrets_of(keyring.open(belongs, sealed or b""), served, access_token)
    except UNREADABLE:
        raise SealBroken(f"the stored record of {connection_id} is damaged") from None
