"""``extends``: a second app of the same service says only what differs."""

from tests.providers.conftest import Faults, Load

BASE = """
providers:
  second:
    extends: first
    display_name: Second
    client_id: ${SECOND_ID}
    token_headers: {X-B: "2", X-C: null}
    default_scopes: [b]
  first:
    display_name: First
    issuer: https://first.example
    client_id: ${FIRST_ID}
    client_secret: secret
    scopes: {a: A, b: B}
    default_scopes: [a]
    token_headers: {X-A: "1", X-B: "1", X-C: "1"}
    revocation: {endpoint: https://first.example/revoke}
"""


def test_mappings_are_merged_and_the_rest_is_replaced(load: Load) -> None:
    """The child wins, ``null`` takes away, and what is extended may stand further down."""
    registry = load(BASE, {"SECOND_ID": "2"})
    second, first = registry.get("second"), registry.get("first")
    assert second.token_headers == {"X-A": "1", "X-B": "2"}
    assert (second.default_scopes, second.issuer, second.client_id) == (("b",), "https://first.example", "2")
    assert first.token_headers == {"X-A": "1", "X-B": "1", "X-C": "1"}
    assert first.default_scopes == ("a",)


def test_only_variables_that_are_still_used_are_missing(load: Load) -> None:
    """What the child replaced isn't needed any more."""
    registry = load(BASE, {"SECOND_ID": "2"})
    assert registry.get("second").ready
    assert registry.get("first").missing_variables == ("FIRST_ID",)


def test_chains_work_and_null_removes_a_section(load: Load) -> None:
    """An entry may extend one that extends another."""
    text = f"{BASE}  third: {{extends: second, display_name: Third, revocation: null}}\n"
    third = load(text, {"SECOND_ID": "2"}).get("third")
    assert (third.display_name, third.client_id, third.revocation) == ("Third", "2", None)
    assert third.token_headers == {"X-A": "1", "X-B": "2"}


def test_a_quoted_null_takes_nothing_away(load: Load) -> None:
    """It is text; what has no quotes and is null takes the key away, also where its value was a number."""
    text = f"{BASE}  third: {{extends: second, timeout: 5, token_headers: {{X-A: 'null', X-B: ~}}}}\n"
    text += "  fourth: {extends: third, timeout: null}\n"
    registry = load(text, {"SECOND_ID": "2"})
    assert registry.get("third").token_headers == {"X-A": "null"}
    assert (registry.get("third").timeout, registry.get("fourth").timeout) == (5, 10)


def test_circles_and_unknown_names_are_faults(faults: Faults) -> None:
    """Each is reported where it stands, and not again for those who extend the entry at fault."""
    text = """
    providers:
      a: {extends: b}
      b: {extends: a}
      self: {extends: self}
      typo: {extends: slef}
      list: {extends: [a]}
      below-a: {extends: a}
      below-typo: {extends: typo}
    """
    circle = "the entry extends itself, directly or through others"
    assert faults(text) == [
        f"providers.yaml:3: providers.a.extends: {circle}",
        f"providers.yaml:4: providers.b.extends: {circle}",
        f"providers.yaml:5: providers.self.extends: {circle}",
        "providers.yaml:6: providers.typo.extends: no such entry (did you mean self?)",
        "providers.yaml:7: providers.list.extends: must be the name of another entry",
    ]


def test_an_inherited_fault_is_reported_once_where_it_stands(faults: Faults) -> None:
    """The child isn't to blame for what its parent says wrong."""
    assert faults(BASE.replace("issuer: https", "isuer: https"), {"SECOND_ID": "2"})[:1] == [
        "providers.yaml:11: providers.first.isuer: unknown key (did you mean issuer?)"
    ]
    assert len(faults(BASE.replace("issuer: https", "isuer: https"))) == 1
