"""The one policy: may this caller do this, to this connection?

Every route and every grant asks :func:`permit`. Where the decision has to be one step with the store's effect
(releasing a token), the same rule travels there as the caller's :class:`~broker.models.access.Reach`.
"""

from broker.access.allow import allows, is_ambiguous
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


def permit_request(caller: Caller, method: str, path: str) -> None:
    """Return if ``caller`` may make this request to a connection's API.

    :param path: below ``api.base_url``, as it is sent: it begins with a slash.
    :raises Forbidden: the client has an allow list without it, or with which the path is too much of a riddle.
    """
    allow = caller.reach.allow
    if allow is None or allows(allow, method, path):
        return
    if is_ambiguous(path):
        raise Forbidden("the client has an allow list, and the path could be read in more than one way")
    raise Forbidden("no entry of the client's allow list covers this request")
