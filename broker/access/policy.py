"""The one policy: may this caller do this, to this connection?

Every route and every grant asks :func:`permit`. Where the decision has to be one step with the store's effect
(releasing a token), the same rule travels there as the caller's :class:`~broker.models.access.Reach`.
"""

from broker.errors import Forbidden, InsufficientScope, NotFound
from broker.models.access import Caller
from broker.models.connection import Connection
from broker.models.session import ConnectSession

Target = Connection | ConnectSession | str | None


def permit(caller: Caller, scope: str | None, target: Target = None) -> None:
    """Return if ``caller`` may do what takes ``scope``, to ``target``.

    :param scope: the client scope that the action takes; ``None`` where being authenticated is enough.
    :param target: a connection, a connect session, the name of a provider, or ``None`` for no target in particular.
    :raises InsufficientScope: the broker token lacks the scope.
    :raises NotFound: the target is another tenant's, another client's or at a provider that the client was not
        given; the answer is that of a target that does not exist.
    :raises Forbidden: the client was not given the provider it names.
    """
    if scope is not None and scope not in caller.scopes:
        raise InsufficientScope(scope)
    match target:
        case Connection():
            if not (caller.reach.covers(target.tenant, target.provider) and caller.reach.leads_to(target.id)):
                raise NotFound("no such connection")
        case ConnectSession():
            if target.client_id != caller.client_id or not caller.reach.covers(target.tenant, target.provider):
                raise NotFound("no such connect session")
        case str():
            if not caller.reach.covers_provider(target):
                raise Forbidden("the client was not given this provider")
        case None:
            return
