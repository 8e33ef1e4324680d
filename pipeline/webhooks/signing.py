"""Signatures by the Standard Webhooks scheme, standardwebhooks.com: any of its libraries verifies them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

_PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64


def secret_of(text: str) -> bytes:
    """The key in ``whsec_…``, which is base64 of 24 to 64 bytes.

    :raises ValueError: it is not that; the message does not hold it.
    """
    try:
        key = base64.b64decode(text.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.strip().startswith(_PREFIX) or not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"no secret: whsec_ and the base64 of {LEAST_BYTES} to {MOST_BYTES} random bytes")
    return key


def headers(secrets: Sequence[bytes], notice_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The three headers of a signed request; with several secrets a signature by each, so that one can be replaced."""
    signed = b"%s.%d.%s" % (notice_id.encode(), timestamp_s, body)
    signatures = (base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in secrets)
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
