"""Ed25519 by the package `cryptography`, which the extra `ed25519` installs."""

from __future__ import annotations

PUBLIC_KEY_BYTES = 32


def is_signature(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is the key's, of `message`."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as missing:
        raise ImportError("Ed25519 needs the extra: pip install 'holdfast-client[ed25519]'") from missing
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
