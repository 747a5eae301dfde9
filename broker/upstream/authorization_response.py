"""Whose answer came back through the browser: ``iss`` (RFC 9207), the defence against mix-up."""

from broker.errors import InvalidRequest


def check_issuer(expected: str | None, received: str | None, *, required: bool) -> None:
    """Compare the ``iss`` of an authorization answer, good or bad, with the issuer the browser was sent to.

    The comparison is of characters, without any normalization (RFC 9207 §2.4).

    :param expected: the issuer, where one is known.
    :param required: the provider says that it always sends ``iss``.
    :raises InvalidRequest: ``iss`` is another one, or missing where it is required. Send the code nowhere.
    """
    if received is None:
        if required:
            raise InvalidRequest("the answer lacks iss, which the provider always sends")
    elif expected is not None and received != expected:
        raise InvalidRequest("the answer comes from another issuer than the one that was asked")
