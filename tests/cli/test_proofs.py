"""``broker clients create`` and ``rotate`` for programs that keep no secret: their keys, or a platform's word."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from joserfc.jwk import ECKey

from broker.vault import names
from tests.access.keys import SIGNING, public_set
from tests.cli.conftest import Cli
from tests.journey import everything_in

CREATE = ("clients", "create", "my service", "--scope", "connect")
POD = "issuer=https://cluster.example,subject=system:serviceaccount:prod:billing,audience=https://broker.example"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A file with a client's public keys."""
    return _file(tmp_path / "keys.json", public_set())


def _file(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_a_client_with_a_file_of_keys_has_no_secret(cli: Cli, keys: Path) -> None:
    """``--jwks-file``: the answer says ``null`` where the secret would stand, and which keys it is known by."""
    client = cli(*CREATE, "--jwks-file", str(keys), "--json").json
    assert client["client_secret"] is None
    assert client["authentication"] == ["private_key_jwt"]
    assert (client["key_ids"], client["jwks_uri"]) == (["one"], None)
    shown = cli("clients", "show", client["client_id"], "--json").json
    assert shown == {name: value for name, value in client.items() if name != "client_secret"}


def test_one_key_alone_is_a_set_of_one(cli: Cli, tmp_path: Path) -> None:
    """As most tools write it."""
    file = _file(tmp_path / "key.json", public_set()["keys"][0])
    assert cli(*CREATE, "--jwks-file", str(file), "--json").json["key_ids"] == ["one"]


def test_keys_may_be_published_instead(cli: Cli) -> None:
    """``--jwks-uri`` is remembered as it was given, and nothing is fetched to register it."""
    client = cli(*CREATE, "--jwks-uri", "https://app.invalid/jwks.json", "--json").json
    assert (client["client_secret"], client["jwks_uri"]) == (None, "https://app.invalid/jwks.json")
    assert client["authentication"] == ["private_key_jwt"]


def test_platforms_may_vouch_for_it(cli: Cli, keys: Path) -> None:
    """``--workload`` is repeatable; one may bring its issuer's keys along."""
    ci = f"jwks_file={keys},audience=https://broker.example,issuer=https://ci.example,subject=repo:org/x:ref:refs/heads/m"
    client = cli(*CREATE, "--workload", POD, "--workload", ci, "--json").json
    assert (client["client_secret"], client["authentication"]) == (None, ["workload"])
    assert client["workloads"] == [
        {
            "issuer": "https://cluster.example",
            "subject": "system:serviceaccount:prod:billing",
            "audience": "https://broker.example",
            "key_ids": None,
        },
        {
            "issuer": "https://ci.example",
            "subject": "repo:org/x:ref:refs/heads/m",
            "audience": "https://broker.example",
            "key_ids": ["one"],
        },
    ]


@pytest.mark.parametrize(
    "subject", ["CN=billing,OU=prod,O=a", "a=b", "a, b", "a,audiences=b", "x,sub=y", "ümlaut", "a,jwks_file"]
)
def test_a_subject_may_hold_what_separates_parts(cli: Cli, subject: str) -> None:
    """A part ends only where another one's name begins."""
    made = cli(*CREATE, "--workload", f"issuer=https://c.example,subject={subject},audience=a=b", "--json")
    (workload,) = made.json["workloads"]
    assert (workload["issuer"], workload["subject"], workload["audience"]) == ("https://c.example", subject, "a=b")


@pytest.mark.parametrize(
    "workload",
    [
        "", "https://c.example", "issuer=https://c.example", "issuer=https://c.example,subject=x",
        "issuer=https://c.example,subject=,audience=a", "issuer=https://c.example,subject=x,audience=a,subject=y",
        "issuer=https://c.example,subject=x,audience=a,audience=b", "name=x,issuer=https://c.example,subject=x,audience=a",
        "issuer=https://c.example,subject=x,audience=a,jwks-file=keys.json",
        "issuer=https://c.example,sub=x,subject=x,audience=a", "issuer=https://c.example,subject=x,audience=a, aud=b",
        "Issuer=https://c.example,subject=x,audience=a", "issuer=https://c.example,subject=x,audience=a,jwks_file=",
        "issuer=http://c.example,subject=x,audience=a", "issuer=c.example,subject=x,audience=a",
    ],
)  # fmt: skip
def test_a_workload_that_is_not_understood_is_refused(cli: Cli, workload: str, raw_store: redis.Redis) -> None:
    """A part that is missing, mistyped, there twice or no good is told; no client is made that nobody can be."""
    refused = cli(*CREATE, "--workload", POD, "--workload", workload)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[1].strip().startswith(("--workload 2: ", "workloads.1.issuer: "))
    assert everything_in(raw_store).find(b"cl_") == -1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--jwks-file: the file can't be read: No such file or directory"),
        (b"", "--jwks-file: the file holds no JSON"),
        (b"-----BEGIN PRIVATE KEY-----", "--jwks-file: the file holds no JSON"),
        (b"\xff\xfe", "--jwks-file: the file holds no JSON"),
        (b"[" * 50_000, "--jwks-file: the file holds no JSON"),
        (b"[]", "--jwks-file: the file holds no JWK Set"),
        (b'"keys"', "--jwks-file: the file holds no JWK Set"),
        (b" " * 65_536 + b"{}", "--jwks-file: the file holds more than 64 KiB"),
        (b'{"keys": []}', "jwks: a JWK Set is needed: an object whose 'keys' are 1 to 20 public keys"),
        (b"{}", "jwks.keys.0: a key is RSA, EC on P-256, P-384 or P-521, or OKP on Ed25519"),
    ],
)
def test_a_file_without_keys_is_refused(cli: Cli, tmp_path: Path, content: bytes | None, said: str) -> None:
    """One line says what is wrong with it, and under which option it was named."""
    file = tmp_path / "keys.json"
    if content is not None:
        file.write_bytes(content)
    refused = cli(*CREATE, "--jwks-file", str(file))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.splitlines()[1:] == [f"  {said}"]


def test_a_directory_is_no_file_of_keys(cli: Cli, tmp_path: Path) -> None:
    """The system's own words for it."""
    refused = cli(*CREATE, "--workload", f"{POD},jwks_file={tmp_path}")
    assert (refused.exit_code, refused.stderr.splitlines()[1]) == (
        2,
        "  --workload 1: the file can't be read: Is a directory",
    )


@pytest.mark.parametrize("place", ["--jwks-file", "--workload", "rotate", "in the name's place"])
def test_a_private_key_is_refused_unsaid(
    cli: Cli, tmp_path: Path, keys: Path, raw_store: redis.Redis, place: str
) -> None:
    """Given by mistake, in a file or in the place of one, it is neither stored nor repeated."""  # K1
    private = SIGNING.as_dict(private=True)
    file = _file(tmp_path / "private.json", private)
    match place:
        case "--workload":
            refused = cli(*CREATE, "--workload", f"{POD},jwks_file={file}")
        case "rotate":
            client_id = cli(*CREATE, "--jwks-file", str(keys), "--json").json["client_id"]
            refused = cli("clients", "rotate", client_id, "--jwks-file", str(file))
        case "--jwks-file":
            refused = cli(*CREATE, "--jwks-file", str(file))
        case _:
            refused = cli(*CREATE, "--jwks-file", json.dumps(private))
    assert refused.exit_code == 2
    assert ("private key" in refused.stderr) == (place != "in the name's place")
    assert str(private["d"]) not in refused.stdout + refused.stderr
    assert str(private["d"]).encode() not in everything_in(raw_store)


def test_keys_are_either_here_or_there(cli: Cli, keys: Path) -> None:
    """``--jwks-file`` and ``--jwks-uri`` exclude each other; and an address is held to what can be asked safely."""
    both = cli(*CREATE, "--jwks-file", str(keys), "--jwks-uri", "https://app.example/jwks.json")
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)
    for address in ("", "http://app.example/k", "file:///k", "https://u:p@app.example/k", "https://app.example/k#1"):
        refused = cli(*CREATE, "--jwks-uri", address)
        assert (refused.exit_code, refused.stderr.splitlines()[1].startswith("  jwks_uri: ")) == (2, True), address
        assert "u:p" not in refused.stderr
    assert cli("clients", "list", "--json").json["items"] == []


def test_a_person_reads_how_it_proves_itself(cli: Cli, keys: Path) -> None:
    """``create`` says that there is no secret, ``show`` what stands for it."""
    made = cli(*CREATE, "--jwks-file", str(keys), "--workload", POD)
    assert "bcs_" not in made.stdout
    assert "has no secret" in made.stderr
    shown = cli("clients", "show", made.stdout.split()[2]).stdout
    assert shown == made.stdout
    assert "private_key_jwt workload" in shown
    assert "system:serviceaccount:prod:billing of https://cluster.example for https://broker.example" in shown
    published = cli(*CREATE, "--jwks-uri", "https://app.example/jwks.json").stdout
    assert "https://app.example/jwks.json" in published


def test_a_file_of_keys_takes_the_place_of_the_present_ones(cli: Cli, tmp_path: Path, keys: Path) -> None:
    """``rotate --jwks-file``: at once and as a whole, so the file holds both while programs move."""  # S13
    client_id = cli(*CREATE, "--jwks-file", str(keys), "--json").json["client_id"]
    successor = ECKey.generate_key("P-256", {"kid": "two"})
    both = _file(tmp_path / "both.json", public_set(SIGNING, successor))
    assert cli("clients", "rotate", client_id, "--jwks-file", str(both), "--json").json["key_ids"] == ["one", "two"]
    alone = _file(tmp_path / "alone.json", public_set(successor))
    rotated = cli("clients", "rotate", client_id, "--jwks-file", str(alone))
    assert "key ids" in rotated.stdout
    assert cli("clients", "show", client_id, "--json").json["key_ids"] == ["two"]


def test_broker_tokens_end_with_keys_that_leaked(cli: Cli, keys: Path, raw_store: redis.Redis) -> None:
    """Only ``--overlap 0`` says that they have: else nothing fails while programs move."""  # S13
    client_id = cli(*CREATE, "--jwks-file", str(keys), "--json").json["client_id"]
    ended = []
    for flags in ((), ("--overlap", "0")):
        assert cli("clients", "rotate", client_id, "--jwks-file", str(keys), *flags).exit_code == 0
        stored = raw_store.get(names.client(client_id))
        assert isinstance(stored, bytes)
        ended.append(json.loads(stored)["tokens_from"] > 0)
    assert ended == [False, True]


def test_keys_know_no_overlap(cli: Cli, keys: Path) -> None:
    """It is not passed over: whoever says one believes that the old keys work on."""
    client_id = cli(*CREATE, "--jwks-file", str(keys), "--json").json["client_id"]
    refused = cli("clients", "rotate", client_id, "--jwks-file", str(keys), "--overlap", "60")
    assert (refused.exit_code, "--overlap: " in refused.stderr) == (2, True)


def test_what_has_no_secret_gets_none(cli: Cli, keys: Path) -> None:
    """``rotate`` says why; nor does a client with a secret get keys that way."""
    for proof in (("--jwks-file", str(keys)), ("--jwks-uri", "https://app.example/k"), ("--workload", POD)):
        client_id = cli(*CREATE, *proof, "--json").json["client_id"]
        refused = cli("clients", "rotate", client_id)
        assert (refused.exit_code, refused.stdout, "has no secret" in refused.stderr) == (1, "", True)
    with_secret = cli(*CREATE, "--json").json["client_id"]
    refused = cli("clients", "rotate", with_secret, "--jwks-file", str(keys))
    assert (refused.exit_code, refused.stdout, "no keys that stand here" in refused.stderr) == (1, "", True)


def test_the_keys_of_a_platform_are_replaced(cli: Cli, keys: Path, tmp_path: Path) -> None:
    """A cluster rotates them, and who is bound to it stays who they are; those of two platforms can't be told apart."""
    pod = f"{POD},jwks_file={keys}"
    client_id = cli(*CREATE, "--workload", pod, "--json").json["client_id"]
    moved = tmp_path / "moved.json"
    moved.write_text(json.dumps(public_set(SIGNING, ECKey.generate_key("P-256", {"kid": "two"}))))
    rotated = cli("clients", "rotate", client_id, "--jwks-file", str(moved), "--json")
    assert rotated.json["workloads"][0]["key_ids"] == ["one", "two"]
    other = pod.replace("issuer=https://", "issuer=https://other.")
    both = cli(*CREATE, "--workload", pod, "--workload", other, "--json")
    refused = cli("clients", "rotate", both.json["client_id"], "--jwks-file", str(moved))
    assert (refused.exit_code, "several platforms" in refused.stderr) == (1, True)


def test_without_a_secret_the_tokens_can_still_be_ended(cli: Cli, keys: Path) -> None:
    """``--overlap 0``: what proved the client may have leaked, whatever that was."""  # S13
    client_id = cli(*CREATE, "--jwks-uri", "https://app.example/k", "--json").json["client_id"]
    ended = cli("clients", "rotate", client_id, "--overlap", "0")
    assert (ended.exit_code, "broker tokens have ended" in ended.stderr) == (0, True)
    assert cli("events", "--type", "client.tokens_ended", "--json").json["items"][0]["data"]["client"] == client_id
