"""Answers made from templates: JSON in which ``{name}`` stands for a value that is known when it is sent.

A text that is one placeholder and nothing else becomes the value itself, a number say; where there is none, the member
that would hold it is left out.
"""

import json
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from pydantic import JsonValue
from starlette.responses import Response

from broker.sandbox.errors import NO_STORE
from broker.sandbox.guises.description import Answer

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")

Values = Mapping[str, JsonValue]


def filled(template: JsonValue, values: Values) -> JsonValue:
    """``template`` with its placeholders filled in."""
    match template:
        case dict():
            members = {name: filled(each, values) for name, each in template.items() if not _lacks(each, values)}
            # What held nothing but members that were left out is left out, too.
            return {name: each for name, each in members.items() if each != {} or template[name] == {}}
        case list():
            return [filled(each, values) for each in template if not _lacks(each, values)]
        case str():
            whole = _PLACEHOLDER.fullmatch(template)
            if whole and whole[1] in values:
                return values[whole[1]]
            return text(template, values)
    return template


def text(template: str, values: Values) -> str:
    """``template`` as a text, with its placeholders filled in."""
    return _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), template)


def _lacks(template: JsonValue, values: Values) -> bool:
    """Whether ``template`` stands for a value that there isn't."""
    whole = _PLACEHOLDER.fullmatch(template) if isinstance(template, str) else None
    return whole is not None and whole[1] in values and values[whole[1]] is None


def answered(answer: Answer, values: Values, *, as_form: bool = False) -> Response:
    """``answer`` as it goes out."""
    headers = {**NO_STORE, **{name: text(value, values) for name, value in answer.headers.items()}}
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    body = filled(answer.body, values)
    if as_form and isinstance(body, dict):
        media_type, content = "application/x-www-form-urlencoded", urlencode(body)
    else:
        media_type, content = "application/json", json.dumps(body)
    return Response(content, status_code=answer.status, headers=headers, media_type=media_type)
