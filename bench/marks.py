"""Parts of documents that are made of measurements: they stand between marks, and the words around are people's.

``<!-- bench NAME -->`` and ``<!-- /bench NAME -->`` enclose one.
"""

import re
from collections.abc import Mapping


class MarkMissing(Exception):
    """The page has no place for a part: it would silently stay old."""


def filled(page: str, parts: Mapping[str, str], *, where: str) -> str:
    """The page with these parts between their marks.

    :param where: how the page is called in an error.
    :raises MarkMissing: one has no place.
    """
    for name, text in parts.items():
        mark = re.compile(rf"(<!-- bench {name} -->\n).*?(<!-- /bench {name} -->)", re.DOTALL)
        found = mark.search(page)
        if found is None:
            raise MarkMissing(f"{where}: <!-- bench {name} --> … <!-- /bench {name} --> is missing")
        page = f"{page[: found.start()]}{found[1]}\n{text}\n\n{found[2]}{page[found.end() :]}"
    return page
