"""Verifies receipts without the core, as `holdfast receipt verify` does.

A receipt is valid if its hash is that of its fields, one of its seals is genuine and none is forged.
A key that is not given proves nothing, for or against.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, Mapping, cast

from . import ed25519
from .types import Receipt, Verdict

RECEIPT_BYTES_MAX = 4096
SECRET_BYTES_MIN = 32

Seal = Literal["genuine", "absent", "not_checked", "unknown_key", "mismatch"]

_FIELDS = """receipt_id purchase_id user_id product_id quantity amount captured_at integrity_hash key_id hmac""".split()
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)


class KeysUnread(ValueError):
    """The keys that were given are not keys of receipts."""


class _Malformed(ValueError):
    """It is not a receipt."""


def verify_receipt(
    receipt: bytes | str | Receipt | Mapping[str, Any],
    *,
    hmac_keys: Mapping[str, str | bytes] | None = None,
    jwks: Mapping[str, Any] | None = None,
) -> Verdict:
    """What is found of a receipt: its JSON as it came, or the object.

    `hmac_keys` are the secrets by their id, `jwks` is the core's key set (`Shop.jwks`). A seal whose keys
    are left out is not checked.
    """
    text = receipt if isinstance(receipt, (bytes, str)) else json.dumps(receipt)
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(content) > RECEIPT_BYTES_MAX:
        return _unread("too_large")
    secrets = None if hmac_keys is None else {name: _secret(name, key) for name, key in hmac_keys.items()}
    public = None if jwks is None else read_jwks(jwks)
    try:
        fields = _parse(content)
    except (_Malformed, RecursionError):
        return _unread("malformed")
    stated = bytes.fromhex(fields["integrity_hash"])
    is_same_hash = hmac.compare_digest(_hash(fields), stated)
    sealed = _check_hmac(fields, stated, secrets)
    signed = _check_signature(fields, stated, public)
    return _verdict(fields, _finding(is_same_hash, sealed, signed), sealed, signed)


def read_jwks(jwks: Mapping[str, Any]) -> dict[str, bytes]:
    """The Ed25519 keys of a key set by their name; keys of other kinds are passed over."""
    keys: dict[str, bytes] = {}
    if not isinstance(jwks.get("keys"), list):
        raise KeysUnread("it is not a JSON Web Key Set")
    for key in jwks["keys"]:
        if (key.get("kty"), key.get("crv"), key.get("use", "sig")) != ("OKP", "Ed25519", "sig"):
            continue
        name, x = key.get("kid"), key.get("x")
        if not isinstance(name, str) or not _ID.fullmatch(name) or name in keys:
            raise KeysUnread("a key has no name of its own")
        if not isinstance(x, str) or not re.fullmatch(r"[A-Za-z0-9_-]{43}", x):
            raise KeysUnread(f"the key {name} is not 32 bytes in base64url")
        keys[name] = base64.urlsafe_b64decode(x + "=")
    return keys


def _secret(name: str, key: str | bytes) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < SECRET_BYTES_MIN:
        raise KeysUnread(f"the receipt key {name} has fewer than {SECRET_BYTES_MIN} bytes")
    return secret


def _hash(fields: Mapping[str, Any]) -> bytes:
    lines = ["holdfast-receipt-v1"]
    lines += [f"{name}={fields[name]}" for name in ("receipt_id", "purchase_id", "user_id", "product_id", "quantity")]
    lines += [f"amount={fields['amount']['value']}", f"currency={fields['amount']['currency']}"]
    lines += [f"captured_at={fields['captured_at']}", ""]
    return hashlib.sha256("\n".join(lines).encode()).digest()


def _check_hmac(fields: Mapping[str, Any], stated: bytes, secrets: Mapping[str, bytes] | None) -> Seal:
    if secrets is None:
        return "not_checked"
    name = fields["key_id"]
    if name not in secrets:
        return "unknown_key"
    message = b"holdfast-receipt-seal-v1\n" + stated + name.encode()
    expected = hmac.new(secrets[name], message, hashlib.sha256).digest()
    return "genuine" if hmac.compare_digest(expected, bytes.fromhex(fields["hmac"])) else "mismatch"


def _check_signature(fields: Mapping[str, Any], stated: bytes, public: Mapping[str, bytes] | None) -> Seal:
    signed = fields.get("ed25519")
    if signed is None:
        return "absent"
    if public is None:
        return "not_checked"
    name = signed["key_id"]
    if name not in public:
        return "unknown_key"
    message = b"holdfast-receipt-sign-v1\n" + stated + name.encode()
    is_genuine = ed25519.is_signature(public[name], bytes.fromhex(signed["signature"]), message)
    return "genuine" if is_genuine else "mismatch"


def _finding(is_same_hash: bool, sealed: Seal, signed: Seal) -> str:
    """The first thing wrong, of all that was looked at."""
    if not is_same_hash:
        return "hash_mismatch"
    if sealed == "mismatch":
        return "seal_mismatch"
    if signed == "mismatch":
        return "signature_mismatch"
    if "genuine" in (sealed, signed):
        return "genuine"
    if sealed == "unknown_key":
        return "unknown_key"
    return "unknown_signing_key" if signed == "unknown_key" else "unsigned"


def _verdict(fields: Mapping[str, Any], reason: str, sealed: Seal, signed: Seal) -> Verdict:
    named = [(sealed, fields["key_id"]), (signed, fields.get("ed25519", {}).get("key_id"))]
    missing = [name for seal, name in named if seal == "unknown_key"]
    verdict: dict[str, Any] = {
        "valid": reason == "genuine",
        "key_id": fields["key_id"],
        "reason": reason,
        "seals": {"hmac": sealed, "ed25519": signed},
    }
    if missing and reason != "genuine":
        verdict["missing_keys"] = missing
    return cast(Verdict, verdict)


def _unread(reason: Literal["too_large", "malformed"]) -> Verdict:
    seals: Any = {"hmac": "not_checked", "ed25519": "not_checked"}
    return {"valid": False, "key_id": None, "reason": reason, "seals": seals}


def _parse(content: bytes) -> dict[str, Any]:
    """The fields of a receipt, `captured_at` as it is hashed."""
    try:
        fields = json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_once,
            parse_int=_whole,
            parse_float=_none_of_ours,
            parse_constant=_none_of_ours,
        )
    except ValueError as error:
        raise _Malformed from error
    _expect(isinstance(fields, dict) and set(fields) - {"ed25519"} == set(_FIELDS))
    for name, prefix in (("receipt_id", "r_"), ("purchase_id", "p_")):
        _expect_text(fields[name], prefix + "[0-9a-f]{32}")
    for name in ("user_id", "product_id", "key_id"):
        _expect_text(fields[name], _ID.pattern)
    for name in ("integrity_hash", "hmac"):
        _expect_text(fields[name], "[0-9a-f]{64}")
    _expect_number(fields["quantity"], 2**32)
    amount = fields["amount"]
    _expect(isinstance(amount, dict) and set(amount) == {"value", "currency"})
    _expect_number(amount["value"], 2**63)
    _expect_text(amount["currency"], "[A-Z]{3}")
    if "ed25519" in fields:
        signed = fields["ed25519"]
        _expect(isinstance(signed, dict) and set(signed) == {"key_id", "signature"})
        _expect_text(signed["key_id"], _ID.pattern)
        _expect_text(signed["signature"], "[0-9a-f]{128}")
    _expect_text(fields["captured_at"], _TIME.pattern)
    fields["captured_at"] = _instant(fields["captured_at"])
    return fields


def _instant(text: str) -> str:
    """The instant that an RFC 3339 time says, in UTC with milliseconds."""
    match = _TIME.fullmatch(text)
    _expect(match is not None and len(text) <= 58)
    day, minute, second, fraction, _, sign, hours, minutes = match.groups()  # type: ignore[union-attr]
    fraction = (fraction or "").ljust(3, "0")
    _expect(not fraction[3:].strip("0") and int(second) <= 60)
    _expect(sign is None or (int(hours) <= 23 and int(minutes) <= 59))
    try:
        at = datetime.fromisoformat(f"{day}T{minute}00+00:00")
        if sign is not None:
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            at = at - offset if sign == "+" else at + offset
        # A leap second ends a month of UTC; Unix time counts it as the next second.
        _expect(second != "60" or (at + timedelta(minutes=1)).strftime("%d %H:%M") == "01 00:00")
        at += timedelta(seconds=int(second))
    except (ValueError, OverflowError) as error:
        raise _Malformed from error
    _expect(at >= datetime(1970, 1, 1, tzinfo=timezone.utc))
    return f"{at:%Y-%m-%dT%H:%M:%S}.{fraction[:3]}Z"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _expect(len({name for name, _ in pairs}) == len(pairs))
    return dict(pairs)


def _whole(text: str) -> int:
    _expect(text != "-0" and len(text) < 20)
    return int(text)


def _none_of_ours(_: str) -> Any:
    raise _Malformed


def _expect_text(value: Any, pattern: str) -> None:
    _expect(isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None)


def _expect_number(value: Any, bound: int) -> None:
    _expect(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < bound)


def _expect(holds: bool) -> None:
    if not holds:
        raise _Malformed
