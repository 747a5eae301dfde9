"""The file of an export: whole, in order and unaltered, or refused."""

import base64
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import OctKey

from broker.connections.moving.formats import ReadOptions, reader
from broker.connections.moving.formats.sealed import SealedExport
from broker.connections.moving.recipients import read_public_key
from broker.connections.moving.row import Row, RowFault
from broker.connections.moving.whole import document_of
from broker.errors import InvalidRequest
from broker.models.connection import Credential
from tests.connections.moving.sealing import OURS, PAIRS, read, sealer_for
from tests.vault.samples import a_connection

CONNECTIONS = [a_connection(subject=f"subject-{number}") for number in range(4)]


def made(subjects: Sequence[int] = range(4)) -> list[bytes]:
    """The lines of a file."""
    sealer = sealer_for()
    lines = [sealer.first()]
    lines += [sealer.line(document_of(CONNECTIONS[each], Credential("access-secret"), [])) for each in subjects]
    return [*lines, sealer.last()]


WHOLE, OTHER = made(), made()


def at(line: bytes, part: int, change: Callable[[bytes], bytes]) -> bytes:
    """The line with one of its five parts changed."""
    parts = line.rstrip(b"\n").split(b".")
    decoded = base64.urlsafe_b64decode(parts[part] + b"==")
    parts[part] = base64.urlsafe_b64encode(change(decoded)).rstrip(b"=")
    return b".".join(parts) + b"\n"


def flipped(content: bytes) -> bytes:
    """One bit of it."""
    return bytes([content[0] ^ 1]) + content[1:]


def renumbered(header: bytes) -> bytes:
    """The header of the third line as if it were the second's."""
    return header.replace(b'"seq":3', b'"seq":2').replace(b'"seq": 3', b'"seq": 2')


def test_a_whole_file_reads_as_it_was_written() -> None:
    """Every connection, in its order, numbered by its line; also where the lines were ended in another way."""
    for file in (b"".join(WHOLE), b"".join(WHOLE).replace(b"\n", b"\r\n"), b"".join(WHOLE).rstrip(b"\n")):
        rows = list(read(file))
        assert [(row.number, row.subject) for row in rows if isinstance(row, Row)] == [
            (number + 2, f"subject-{number}") for number in range(4)
        ]


BROKEN: dict[str, list[bytes]] = {
    "without its end": WHOLE[:-1],
    "cut off within a line": [*WHOLE[:3], WHOLE[3][:200]],
    "its first line alone": WHOLE[:1],
    "without its first line": WHOLE[1:],
    "a line left out": [*WHOLE[:2], *WHOLE[3:]],
    "the last connection left out": [*WHOLE[:4], WHOLE[5]],
    "lines in another order": [WHOLE[0], WHOLE[2], WHOLE[1], *WHOLE[3:]],
    "a line twice": [*WHOLE[:3], WHOLE[2], *WHOLE[3:]],
    "a line of another file": [*WHOLE[:2], OTHER[2], *WHOLE[3:]],
    "the end of another file": [*WHOLE[:-1], OTHER[-1]],
    "another file after it": [*WHOLE, *OTHER],
    "a blank line": [*WHOLE[:2], b"\n", *WHOLE[2:]],
    "something after its end": [*WHOLE, b"x"],
    "an altered content": [*WHOLE[:2], at(WHOLE[2], 3, flipped), *WHOLE[3:]],
    "an altered tag": [*WHOLE[:2], at(WHOLE[2], 4, flipped), *WHOLE[3:]],
    "an altered nonce": [*WHOLE[:2], at(WHOLE[2], 2, flipped), *WHOLE[3:]],
    "a renumbered line": [*WHOLE[:2], at(WHOLE[3], 0, renumbered), *WHOLE[3:]],
    "an altered first line": [at(WHOLE[0], 3, flipped), *WHOLE[1:]],
    "another wrapped key": [at(WHOLE[0], 1, flipped), *WHOLE[1:]],
    "a line that is no JWE": [*WHOLE[:2], b"{}\n", *WHOLE[2:]],
}


@pytest.mark.parametrize("lines", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_not_as_it_was_written_ends_in_a_fault(lines: list[bytes]) -> None:
    """Whatever was done to it, the last thing that is read is a fault, and what came before it is as it was."""
    rows = list(SealedExport().read(io.BytesIO(b"".join(lines)), ReadOptions(private_key=OURS.private)))
    assert isinstance(rows[-1], RowFault)
    subjects = [row.subject for row in rows[:-1] if isinstance(row, Row)]
    assert len(subjects) == len(rows) - 1
    assert subjects == [f"subject-{number}" for number in range(len(subjects))]


@settings(deadline=None)
@given(st.integers(0, len(b"".join(WHOLE)) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(position: int, change: int) -> None:
    """A file with any byte changed is read in part at most, and never to an end without a fault."""
    altered = bytearray(b"".join(WHOLE))
    altered[position] ^= change
    rows = list(SealedExport().read(io.BytesIO(bytes(altered)), ReadOptions(private_key=OURS.private)))
    subjects = [row.subject for row in rows if isinstance(row, Row)]
    assert subjects == [f"subject-{number}" for number in range(len(subjects))]
    # The last character of base64 holds bits that stand for nothing, and a line feed may become another space.
    assert isinstance(rows[-1], RowFault) or len(subjects) == 4
    assert "access-secret" not in str(rows)


def first_line(content: dict[str, Any], **header: Any) -> bytes:
    """A first line as somebody else would write it who has the public key."""
    key = read_public_key(OURS.public)
    made_by_us = {"alg": key.algorithm, "enc": "A256GCM", "typ": "broker-export", "kid": key.thumbprint}
    protected = {**made_by_us, **header}
    return jwe.encrypt_compact(
        protected, json.dumps(content), key.key, registry=jwe.JWERegistry(strict_check_header=False, algorithms=ANY)
    ).encode()


ANY = ["ECDH-ES+A256KW", "ECDH-ES+A128KW", "ECDH-ES", "A256GCM", "A128GCM", "A128CBC-HS256", "dir", "DEF"]
SECRET = bytes(32)
GOOD = {
    "version": 1,
    "export": "exp_" + "0" * 22,
    "created_at": 1,
    "broker": "b",
    "key": base64.urlsafe_b64encode(SECRET).decode(),
}


def further(content: object, **header: Any) -> bytes:
    """A further line as somebody would write it who made up the content key."""
    protected = {"alg": "dir", "enc": "A256GCM", "export": GOOD["export"], "seq": 1, **header}
    registry = jwe.JWERegistry(strict_check_header=False, algorithms=ANY)
    text = json.dumps(content)
    return b"\n" + jwe.encrypt_compact(protected, text, OctKey.import_key(SECRET), registry=registry).encode()


WRITTEN_BY_STRANGERS: dict[str, bytes] = {
    "another version": first_line({**GOOD, "version": 2}) + further({"end": 0}),
    "another encryption": first_line(GOOD, enc="A128GCM") + further({"end": 0}),
    "another wrapping": first_line(GOOD, alg="ECDH-ES+A128KW") + further({"end": 0}),
    "no key": first_line({**GOOD, "key": 7}) + further({"end": 0}),
    "a short key": first_line({**GOOD, "key": "AAAA"}) + further({"end": 0}),
    "no id": first_line({**GOOD, "export": "x"}) + further({"end": 0}),
    "another type": first_line(GOOD, typ="JWT") + further({"end": 0}),
    "compressed": first_line(GOOD) + further({"end": 0}, zip="DEF"),
    "another header": first_line(GOOD) + further({"end": 0}, cty="x", unheard_of=1),
    "a place that is no number": first_line(GOOD) + further({"end": 0}, seq="1"),
    "a place that is true": first_line(GOOD) + further({"end": 0}, seq=True),
    "a place that is a fraction": first_line(GOOD) + further({"end": 0}, seq=1.0),
    "what must be understood": first_line(GOOD) + further({"end": 0}, crit=["cty"], cty="x"),
    "what must be understood at first": first_line(GOOD, crit=["cty"], cty="x") + further({"end": 0}),
    "where a key could be fetched": first_line(GOOD, jku="https://practice.example/") + further({"end": 0}),
    "an end that is false": first_line(GOOD) + further({"end": False}),
    "an end that is a fraction": first_line(GOOD) + further({"end": 0.0}),
    "another count": first_line(GOOD) + further({"end": 1}),
    "no object": first_line(GOOD) + further([1]),
    "two ends": first_line(GOOD) + further({"end": 0}) + further({"end": 1}, seq=2),
    "more beside the end": first_line(GOOD) + further({"end": 0, "connection": {}}),
}


@pytest.mark.parametrize("file", WRITTEN_BY_STRANGERS.values(), ids=WRITTEN_BY_STRANGERS)
def test_what_a_stranger_wrote_with_the_public_key_is_judged(file: bytes) -> None:
    """It opens, and that is all that its seal says: what isn't as we write it is refused."""
    assert list(read(first_line(GOOD) + further({"end": 0}))) == []
    (fault,) = read(file)
    assert isinstance(fault, RowFault)


def test_it_is_opened_with_a_key_or_not_at_all() -> None:
    """Without ``--key``, or with what is none, nothing is read."""
    file = b"".join(WHOLE)
    for options in (ReadOptions(), ReadOptions(private_key=OURS.public), ReadOptions(private_key=b"x")):
        with pytest.raises(InvalidRequest) as refused:
            reader(None, file).read(io.BytesIO(file), options)
        assert refused.value.faults[0].field == "--key"


@pytest.mark.parametrize("kind", sorted(set(PAIRS) - {"X25519"}))
def test_a_key_of_another_kind_does_not_open_it(kind: str) -> None:
    """Nor does it make anything fail but this file, which nothing is said of but that."""
    (fault,) = read(b"".join(WHOLE), PAIRS[kind])
    assert fault == RowFault(1, "--key", "the export was sealed to another key")


def test_a_fault_names_the_connection() -> None:
    """By the id that it had there."""
    connection_id = "con_" + "0" * 22
    for said, told in (({"id": connection_id}, connection_id), ("x", None), (None, None)):
        file = first_line(GOOD) + further({"connection": said, "credential": {}, "parked": []})
        (fault, _) = read(file)
        assert isinstance(fault, RowFault)
        assert (fault.number, fault.source_id) == (2, told)


@pytest.mark.parametrize("length", [10, 60, 200])
def test_a_line_that_is_cut_off_is_said_to_be(length: int) -> None:
    """Or altered: the one looks like the other."""
    *_, fault = read(b"".join([*WHOLE[:3], WHOLE[3][:length]]))
    assert isinstance(fault, RowFault)
    assert (fault.number, fault.field, "cut off or altered" in fault.message) == (4, "FILE", True)
