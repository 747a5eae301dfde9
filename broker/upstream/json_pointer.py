"""JSON pointers (RFC 6901): where a field stands in a provider's answer."""


def lookup(document: object, pointer: str) -> object:
    """What ``pointer`` points at in ``document``, or ``None`` for nothing. ``""`` is the whole document."""
    if not pointer:
        return document
    value = document
    for token in pointer[1:].split("/"):
        key = token.replace("~1", "/").replace("~0", "~")
        match value:
            case dict() if key in value:
                value = value[key]
            case list() if _is_index(key) and int(key) < len(value):
                value = value[int(key)]
            case _:
                return None
    return value


def _is_index(key: str) -> bool:
    # RFC 6901 §4: decimal without leading zeros; longer than nine digits can't be inside a capped body.
    return key.isascii() and key.isdigit() and len(key) <= 9 and (key == "0" or key[0] != "0")
