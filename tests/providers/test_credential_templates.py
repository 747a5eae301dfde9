"""What an entry of type custom may say, judged when the file is loaded."""

import pytest

from tests.providers.conftest import Faults, Load

ENTRY = """\
providers:
  own:
    display_name: Own
    type: custom
    fields:
      key_id: {label: Key ID, secret: false}
      secret: {label: Secret}
    parameters: {region: {label: Region}}
"""


def test_a_whole_scheme_loads(load: Load) -> None:
    """Computed parts may use those before them, the credential and the request."""
    provider = load(
        ENTRY
        + """\
    computed:
      at: {function: timestamp, format: milliseconds}
      digest: {function: hash, over: "{body}", encoding: base64}
      mac: {function: hmac, key: "{secret}{region}", over: "{at} {method} {target} {digest}"}
    headers: {X-Mac: "{mac}", X-Json: '{"a": 1}'}
    query: {key: "{key_id}"}
"""
    ).get("own")
    assert list(provider.computed) == ["at", "digest", "mac"]


@pytest.mark.parametrize(
    ("lines", "line", "said"),
    [
        (
            'headers: {X-A: "{secrets}"}',
            9,
            "own.headers.X-A: uses {secrets}, which is nothing known (did you mean secret?)",
        ),
        ('headers:\n      X-A: a\n      x-a: "{secret}"', 11, "own.headers.x-a: stands here twice: header names"),
        ('headers: {Host: "{secret}"}', 9, "own.headers.Host: can't be set: it belongs to the transport"),
        ('headers: {content-length: "1"}', 9, "own.headers.content-length: can't be set"),
        ('headers: {Cookie: "a={secret}"}', 9, "own.headers.Cookie: can't be set"),
        ('headers: {Transfer-Encoding: "x"}', 9, "own.headers.Transfer-Encoding: can't be set"),
        ('headers: {"X A": "x"}', 9, "own.headers.X A: is not a header name"),
        ('headers: {X-A: "{body}"}', 9, "own.headers.X-A: uses {body}, which only what is computed"),
        ('query:\n      a: b\n      c: "{other}"', 11, "own.query.c: uses {other}, which is nothing known"),
        (
            'query: {a: "{b}"}\n    computed: {b: {function: hash, over: "{c}"}, c: {function: hash, over: "{b}"}}',
            10,
            "own.computed.b.over: uses {c}, which is computed only after it",
        ),
        (
            'query: {a: "{b}"}\n    computed: {b: {function: hash, over: "{b}"}}',
            10,
            "own.computed.b.over: uses {b}, which is computed only after it",
        ),
        (
            'query: {a: "{b}"}\n    computed: {b: {function: hmac, over: x, key: "{method}"}}',
            10,
            "own.computed.b.key: uses {method}, which is nothing known",
        ),
        (
            'query: {a: "{b}"}\n    computed: {b: {function: hmac, over: x}}',
            10,
            "own.computed.b: key missing: what hmac is computed of",
        ),
        ('query: {a: "{b}"}\n    computed: {b: {function: hash}}', 10, "own.computed.b: over missing"),
        (
            'query: {a: "{b}"}\n    computed: {b: {function: nonce, over: x}}',
            10,
            "own.computed.b: over means nothing with nonce",
        ),
        (
            'query: {a: "{b}"}\n    computed: {b: {function: eval, over: x}}',
            10,
            "own.computed.b.function: input should",
        ),
        (
            "query: {a: x}\n    computed: {method: {function: nonce}}",
            10,
            "own.computed.method: is already the name of a part of the request",
        ),
        (
            "query: {a: x}\n    computed: {secret: {function: nonce}}",
            10,
            "own.computed.secret: is already the name of a field",
        ),
        (
            "query: {a: x}\n    computed: {region: {function: nonce}}",
            10,
            "own.computed.region: is already the name of a param",
        ),
    ],
)
def test_a_template_that_can_not_be_filled_in_is_named(faults: Faults, lines: str, line: int, said: str) -> None:
    """With file, line and key; one entry's mistake is told before anybody connects."""
    found = faults(f"{ENTRY}    {lines}\n")
    assert len(found) == 1
    assert found[0].startswith(f"providers.yaml:{line}: providers.{said}")


def test_an_entry_whose_variable_is_not_set_is_not_ready_rather_than_wrong(load: Load) -> None:
    """A header that isn't known yet can't be judged."""
    provider = load(ENTRY + '    headers: {X-A: "${NOT_SET}"}\n').get("own")
    assert provider.missing == ("environment variable NOT_SET",)
