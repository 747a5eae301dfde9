"""A usual answer of a device authorization endpoint, and what is read out of it."""

from broker.upstream.device_grant import DeviceCodes

ANSWER = {
    "device_code": "the-device-code-that-is-secret",
    "user_code": "WDJB-MJHT",
    "verification_uri": "https://provider.test/device",
    "verification_uri_complete": "https://provider.test/device?user_code=WDJB-MJHT",
    "expires_in": 600,
    "interval": 7,
}
CODES = DeviceCodes(
    "the-device-code-that-is-secret",
    "WDJB-MJHT",
    "https://provider.test/device",
    "https://provider.test/device?user_code=WDJB-MJHT",
    600,
    7,
)
