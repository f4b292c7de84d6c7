"""Verifies webhooks: Standard Webhooks (`v1` and `v1a`), and holdfast's `X-Signature`.

A webhook is genuine if one of its signatures is; malformed ones and those of other versions do not
count. Remember `id` for as long as you accept time stamps: the same one again is the same event, or,
with `X-Signature`, a replay.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from dataclasses import dataclass
from typing import Any, Iterable, Literal, Mapping

from . import ed25519

TOLERANCE_S = 300
SIGNATURES_MAX = 8
SECRET_BYTES_MIN = 24

_PART = re.compile(r"[!-\-/-~]{1,128}")
_SECONDS = re.compile(r"0|[1-9][0-9]{0,18}")


class WebhookRefused(ValueError):
    """It is not genuine, or not of now. `reason` is `invalid_signature` or `stale_timestamp`."""

    def __init__(self, reason: Literal["invalid_signature", "stale_timestamp"]) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Webhook:
    """A genuine webhook. `id` is its `webhook-id`, or its nonce."""

    id: str
    timestamp: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class _Claim:
    id: str
    timestamp: str
    #: Scheme and bytes of each well-formed signature.
    signatures: list[tuple[str, bytes]]


def verify_webhook(
    headers: Mapping[str, str] | Iterable[tuple[str, str]],
    body: bytes,
    secrets: Iterable[str],
    *,
    tolerance_s: int = TOLERANCE_S,
    now: float | None = None,
) -> Webhook:
    """The webhook, or `WebhookRefused`.

    `body` is the raw body. A secret that begins with `whsec_` is for `v1`, a public key that begins with
    `whpk_` for `v1a`, any other secret for `X-Signature`. Several secrets: while one replaces another.
    """
    keys = [_key(secret) for secret in secrets]
    claim = _claim(_single_headers(headers))
    if claim is None or not 1 <= len(claim.signatures) <= SIGNATURES_MAX:
        raise WebhookRefused("invalid_signature")
    signed = f"{claim.id}.{claim.timestamp}." if claim.signatures[0][0] != "x" else f"{claim.timestamp}.{claim.id}."
    message = signed.encode() + body
    genuine = [_made(key, claim, message) for key in keys]
    if not any(genuine):
        raise WebhookRefused("invalid_signature")
    at = int(time.time() if now is None else now)
    if abs(int(claim.timestamp) - at) > tolerance_s:
        raise WebhookRefused("stale_timestamp")
    return Webhook(claim.id, int(claim.timestamp), body)


def _key(secret: str) -> tuple[str, bytes]:
    """The scheme that a secret is for, and its bytes."""
    if secret.startswith("whpk_"):
        scheme, key = "v1a", _base64(secret.removeprefix("whpk_"))
        if key is None or len(key) != ed25519.PUBLIC_KEY_BYTES:
            raise ValueError("a public key is whpk_ followed by 32 bytes in base64")
        return scheme, key
    if secret.startswith("whsec_"):
        scheme, key = "v1", _base64(secret.removeprefix("whsec_"))
    else:
        scheme, key = "x", secret.encode()
    if key is None or len(key) < SECRET_BYTES_MIN:
        raise ValueError(f"a webhook secret has at least {SECRET_BYTES_MIN} bytes, in base64 after whsec_")
    return scheme, key


def _made(key: tuple[str, bytes], claim: _Claim, message: bytes) -> bool:
    """Whether one of the signatures was made with this key."""
    scheme, secret = key
    candidates = [signature for of, signature in claim.signatures if of == scheme]
    if not candidates:
        return False
    if scheme == "v1a":
        return any([ed25519.is_signature(secret, signature, message) for signature in candidates])
    expected = hmac.new(secret, message, hashlib.sha256).digest()
    return any([hmac.compare_digest(expected, signature) for signature in candidates])


def _single_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Headers by their name in lower case; None where one was sent twice."""
    single: dict[str, str | None] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        name = name.lower()
        single[name] = None if name in single else value
    return single


def _claim(headers: dict[str, str | None]) -> _Claim | None:
    if ("x-signature" in headers) == ("webhook-signature" in headers):
        return None
    if "x-signature" in headers:
        id_, timestamp, listed = (headers.get(name) for name in ("x-nonce", "x-timestamp", "x-signature"))
        signatures = _hex_signatures(listed or "")
    else:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        id_, timestamp, listed = (headers.get(name) for name in names)
        signatures = _standard_signatures(listed or "")
    if id_ is None or timestamp is None or not _PART.fullmatch(id_) or not _SECONDS.fullmatch(timestamp):
        return None
    return _Claim(id_, timestamp, signatures)


def _hex_signatures(listed: str) -> list[tuple[str, bytes]]:
    found = re.findall(r"(?:^|(?<=[, \t]))sha256=([0-9A-Fa-f]{64})(?=[, \t]|\Z)", listed)
    return [("x", bytes.fromhex(text)) for text in found]


def _standard_signatures(listed: str) -> list[tuple[str, bytes]]:
    signatures = []
    for item in re.split(r"[ \t]", listed):
        scheme, _, text = item.partition(",")
        signature = _base64(text)
        if (scheme, len(signature or b"")) in (("v1", 32), ("v1a", 64)) and signature is not None:
            signatures.append((scheme, signature))
    return signatures


def _base64(text: str) -> bytes | None:
    """Padded base64, written in the one way that there is."""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return decoded if base64.b64encode(decoded).decode() == text else None
