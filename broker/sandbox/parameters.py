"""Query strings and form bodies, read strictly: OAuth's rules on repeated and empty parameters."""

from urllib.parse import parse_qs

from starlette.requests import Request

from broker.sandbox.errors import OAuthError

_MAX_BODY = 64 * 1024
_MAX_FIELDS = 100
_MAY_REPEAT = frozenset({"resource", "audience"})


class Parameters:
    """The parameters of one request. One sent without a value counts as left out (RFC 6749 §3.1)."""

    def __init__(self, encoded: str) -> None:
        try:
            self._values = parse_qs(encoded, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
        except ValueError:
            raise OAuthError("invalid_request", "the parameters can't be decoded, or are too many") from None

    def get(self, name: str) -> str | None:
        """The value of ``name``; raises ``invalid_request`` if it was given more than once."""
        values = self._values.get(name, [])
        if len(values) > 1:
            raise OAuthError("invalid_request", f"given more than once: {name}")
        return (values[0] or None) if values else None

    def require(self, name: str) -> str:
        """The value of ``name``; raises ``invalid_request`` if there is none."""
        value = self.get(name)
        if value is None:
            raise OAuthError("invalid_request", f"missing: {name}")
        return value

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of ``name``, in order: for the consent form's checkboxes."""
        return tuple(self._values.get(name, ()))

    def refuse_repeated(self) -> None:
        """Raise ``invalid_request`` if any parameter came twice (RFC 6749 §3.1 and §3.2)."""
        for name in self._values.keys() - _MAY_REPEAT:
            self.get(name)


async def read_form(request: Request) -> Parameters:
    """The form body of ``request``; raises ``invalid_request`` if it is none, or larger than 64 KiB."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "the body must be application/x-www-form-urlencoded")
    body = await read_body(request)
    try:
        return Parameters(body.decode())
    except UnicodeDecodeError:
        raise OAuthError("invalid_request", "the body is not text") from None


async def read_body(request: Request) -> bytes:
    """The whole body; raises ``invalid_request`` (413) as soon as it grows beyond 64 KiB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise OAuthError("invalid_request", "the body is too large", status=413)
    return bytes(body)
