"""From stored documents to dataclasses, so that replicas of two versions can share a store."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Protocol, TypeVar

UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading a stored thing raises that nobody wrote so: another type, a number out of range, a nest of brackets."""


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Kind = TypeVar("Kind", bound=Dataclass)


def made_from(kind: type[Kind], document: Mapping[str, Any], **given: Any) -> Kind:  # noqa: ANN401 - any field's value
    """A dataclass made from a stored document; what it does not know is passed over.

    While a new version is rolled out, its replicas store fields that the others have never heard of.

    :param given: fields that are not in the document, or differently there.
    :raises TypeError: a field without a default is missing.
    """
    known = kind.__dataclass_fields__
    return kind(**{name: value for name, value in document.items() if name in known and name not in given}, **given)
