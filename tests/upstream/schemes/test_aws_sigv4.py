"""AWS Signature Version 4: against AWS's published examples, and an implementation that shares no code with ours.

The other implementation is AWS's C library (``awscrt``); what the broker signs with is the Python one.
"""

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from awscrt import auth as crt  # type: ignore[import-untyped]
from awscrt import http as crt_http

from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.schemes.request import EMPTY_SHA256, Signature, Unsigned
from broker.upstream.schemes.signing import covers_body, sign

NOW = int(datetime(2013, 5, 24, tzinfo=UTC).timestamp() * 1000)
KEY = {"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
TEMPORARY = {**KEY, "session_token": "a-session-token/with+signs=="}
BODY = b'{"text": "Ahoy"}'


def provider_of(service: str, region: str = "us-east-1") -> Provider:
    """An entry for one service."""
    return Provider.model_validate(
        {
            "name": "signed",
            "display_name": "Signed",
            "type": "aws_sigv4",
            "parameters": {"region": {"label": "Region", "default": "us-east-1"}},
            "aws": {"region": region, "service": service},
        }
    )


def signed(
    url: str,
    *,
    method: str = "GET",
    service: str = "s3",
    fields: Mapping[str, str] = KEY,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Signature:
    """What goes onto a request."""
    request = Unsigned(method, url, headers or {}, body, hashlib.sha256(body).hexdigest())
    provider = provider_of(service, "{region}")
    return sign(provider, {"region": "us-east-1"}, Credential("", fields=fields), request, now=NOW)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_the_published_examples_come_out(query: str, expected: str) -> None:
    """Amazon S3 API reference, "Signature calculations: examples": GET Bucket Lifecycle, List Objects."""
    signature = signed(f"https://examplebucket.s3.amazonaws.com/{query}")
    assert signature.headers == {
        "x-amz-date": "20130524T000000Z",
        "x-amz-content-sha256": EMPTY_SHA256,
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={expected}",
    }


def by_the_other_implementation(
    url: str,
    *,
    method: str,
    service: str,
    fields: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> str:
    """The ``Authorization`` header that the C library makes of the same request."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    request = crt_http.HttpRequest(method, target, crt_http.HttpHeaders([("host", parts.netloc), *headers.items()]))
    is_s3 = service == "s3"
    config = crt.AwsSigningConfig(
        algorithm=crt.AwsSigningAlgorithm.V4,
        signature_type=crt.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=crt.AwsCredentialsProvider.new_static(
            fields["access_key_id"], fields["secret_access_key"], fields.get("session_token")
        ),
        region="us-east-1",
        service=service,
        date=datetime.fromtimestamp(NOW / 1000, UTC),
        use_double_uri_encode=not is_s3,
        should_normalize_uri_path=not is_s3,
        signed_body_value=hashlib.sha256(body).hexdigest(),
        signed_body_header_type=crt.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    made: str = crt.aws_sign_request(request, config).result(60).headers.get("Authorization")
    return made


@pytest.mark.parametrize("fields", [KEY, TEMPORARY], ids=["key", "temporary key"])
@pytest.mark.parametrize("service", ["execute-api", "s3"])
@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("GET", "", {}, b""),
        ("GET", "/", {}, b""),
        ("GET", "/a/b?x=1", {}, b""),
        ("GET", "/a%20b/%C3%A9%2Fx/~user", {}, b""),
        ("GET", "/a?b=2&a=1&b=1&A=0", {}, b""),
        ("GET", "/a?q=one%20two&empty=&flag", {}, b""),
        ("GET", "/a?q=%7E%2a%2F%3D%26&u=%C3%A9", {}, b""),
        ("POST", "/messages", {"content-type": "application/json"}, BODY),
        ("PUT", "/o", {"x-amz-meta-name": "  two   words ", "content-md5": "rL0Y20zC+Fzt72VPzMSk2A=="}, BODY),
        ("DELETE", "/a;v=1/(b)!'*", {}, b""),
    ],
)
def test_an_implementation_that_is_not_ours_signs_the_same(
    method: str, target: str, headers: dict[str, str], body: bytes, service: str, fields: Mapping[str, str]
) -> None:
    """Paths, queries, bodies, headers and temporary keys of every sort."""
    url = f"https://api.example.com{target}"
    ours = signed(url, method=method, service=service, fields=fields, headers=headers, body=body)
    theirs = by_the_other_implementation(url, method=method, service=service, fields=fields, headers=headers, body=body)
    assert ours.headers["authorization"] == theirs
    assert ours.headers.get("x-amz-security-token") == fields.get("session_token")


def test_what_the_way_may_change_is_not_signed() -> None:
    """Accept, User-Agent and the like may be rewritten by what carries the request; AWS's own headers are covered."""
    plain = signed("https://api.example.com/")
    headers = {"accept": "x", "user-agent": "y", "host": "elsewhere.example", "authorization": "Bearer z", "date": "d"}
    assert signed("https://api.example.com/", headers=headers) == plain
    assert signed("https://api.example.com/", headers={"x-amz-target": "T"}) != plain


def test_the_callers_own_signature_headers_are_replaced() -> None:
    """A time, a token or a hash that came along is not what is signed."""
    stale = {"x-amz-date": "20000101T000000Z", "x-amz-security-token": "other", "x-amz-content-sha256": "0" * 64}
    assert signed("https://api.example.com/", headers=stale, fields=TEMPORARY) == signed(
        "https://api.example.com/", fields=TEMPORARY
    )


def test_the_digest_of_the_body_is_enough() -> None:
    """A body that streams needs only to be hashed before."""
    whole = signed("https://api.example.com/", method="POST", body=BODY)
    request = Unsigned("POST", "https://api.example.com/", {}, None, hashlib.sha256(BODY).hexdigest())
    assert sign(provider_of("s3"), {}, Credential("", fields=KEY), request, now=NOW) == whole
    assert covers_body(provider_of("s3")) == "digest"


def test_the_library_is_loaded_with_the_first_signature() -> None:
    """It takes 14 MB and a tenth of a second, which workers don't pay for entries that nobody uses."""
    program = """
import sys
from broker.models.connection import Credential
from broker.providers.schema import Provider
from broker.upstream.facade import Upstream
from broker.upstream.schemes.request import Unsigned
from broker.upstream.schemes.signing import sign

entry = {'name': 'a', 'display_name': 'A', 'type': 'aws_sigv4', 'aws': {'region': 'r', 'service': 's'}}
provider = Provider.model_validate(entry)
print('botocore.auth' in sys.modules)
key = Credential('', fields={'access_key_id': 'AKID', 'secret_access_key': 'practice'})
sign(provider, {}, key, Unsigned('GET', 'https://api.example.com/'), now=0)
print('botocore.auth' in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "True"]
