"""Encryption at rest: the keys of a gallery, and what is sealed with them.

Everything secret is sealed with AES-256-GCM under a data key, 32 random bytes that only this gallery has. The gallery
keeps that key wrapped, AES-256-GCM again, under a key that it does not keep: the bytes of a key file, or what scrypt
(RFC 7914) makes of a passphrase. So a new passphrase needs no new data key; it gets one all the same, for whoever knew
the old passphrase may have read the old data key.

What is sealed is bound to its place: moved to another row, it does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import unicodedata
from typing import Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from lightface.errors import GalleryError
from lightface.gallery.keys import KEY_BYTES, SHORTEST_PASSPHRASE, GalleryKey, KeyFile, KeyKind, Passphrase

SCRYPT_COST: Final = 2**17  # 128 MB and some tenths of a second for each guess

_MOST_SCRYPT_COST: Final = 2**20  # 1 GB: a gallery that asks for more was tampered with
_BLOCK_SIZE: Final = 8  # scrypt's r, with p = 1
_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_WRAPPED: Final = b"lightface data key"


class Sealing:
    """The open lock of one gallery. `header` is what the gallery keeps of it: nothing in it is secret."""

    def __init__(self, header: str, data_key: bytes) -> None:
        self.header = header
        self.kind: KeyKind = _read_header(header)["kind"]
        self._cipher = AESGCM(hmac.digest(data_key, b"rows", hashlib.sha256))
        self._look_up_key = hmac.digest(data_key, b"look-ups", hashlib.sha256)

    @classmethod
    def new(cls, key: GalleryKey) -> Self:
        """A new data key, wrapped under `key`. GalleryError for a key that is too weak or cannot be read."""
        if isinstance(key, Passphrase) and len(key.text) < SHORTEST_PASSPHRASE:
            raise GalleryError(f"the passphrase is too short; give at least {SHORTEST_PASSPHRASE} characters")
        data_key = os.urandom(KEY_BYTES)
        header: dict[str, Any] = {"version": _VERSION, "kind": key.kind}
        if isinstance(key, Passphrase):
            header.update(salt=os.urandom(16).hex(), cost=SCRYPT_COST)
        wrapped = _seal(AESGCM(_wrapping_key(header, key)), data_key, _WRAPPED)
        return cls(json.dumps({**header, "wrapped": wrapped.hex()}), data_key)

    @classmethod
    def unlock(cls, header: str, key: GalleryKey, *, location: str) -> Self:
        """The lock that `header` describes, opened. GalleryError for the wrong key, and for a damaged header."""
        try:
            described = _read_header(header)
            if key.kind != described["kind"]:
                raise GalleryError(f"{location} is encrypted with a {described['kind']}, not a {key.kind}; give that")
            wrapped = bytes.fromhex(described["wrapped"])
            return cls(header, _unseal(AESGCM(_wrapping_key(described, key)), wrapped, _WRAPPED))
        except InvalidTag:
            raise GalleryError(f"this is not the {key.kind} of {location}; give the right one") from None
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise GalleryError(f"{location} is damaged (the lock of its key); restore a copy") from error

    def seal(self, data: bytes, place: bytes) -> bytes:
        """Encrypted data, 28 bytes longer, that `unseal` opens for the same `place` only."""
        return _seal(self._cipher, data, place)

    def unseal(self, sealed: bytes, place: bytes) -> bytes:
        """What was sealed for that place. ValueError for anything else."""
        try:
            return _unseal(self._cipher, sealed, place)
        except InvalidTag:
            raise ValueError("what is encrypted was changed, or moved from another place") from None

    def look_up_word(self, kind: str, text: str) -> str:
        """64 hex digits that stand for a text, so that it can be found without being shown."""
        return hmac.digest(self._look_up_key, f"{kind} {text}".encode(), hashlib.sha256).hex()


def kind_of(header: str, *, location: str) -> KeyKind:
    """Which kind of key opens the gallery of that header. GalleryError for a damaged one."""
    try:
        return _read_header(header)["kind"]  # type: ignore[no-any-return]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise GalleryError(f"{location} is damaged (the lock of its key); restore a copy") from error


def _read_header(header: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(header)
    if described["version"] != _VERSION or described["kind"] not in ("passphrase", "key file"):
        raise ValueError("unknown encryption")
    return described


def _wrapping_key(header: dict[str, Any], key: GalleryKey) -> bytes:
    if isinstance(key, KeyFile):
        return key.read()
    cost, salt = header["cost"], bytes.fromhex(header["salt"])
    if not isinstance(cost, int) or not 2 <= cost <= _MOST_SCRYPT_COST:
        raise ValueError(f"a cost of {cost}")
    # One passphrase, however the keyboard composes its accents.
    text = unicodedata.normalize("NFC", key.text).encode("utf-8", "surrogateescape")
    return Scrypt(salt=salt, length=KEY_BYTES, n=cost, r=_BLOCK_SIZE, p=1).derive(text)


def _seal(cipher: AESGCM, data: bytes, place: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, place)


def _unseal(cipher: AESGCM, sealed: bytes, place: bytes) -> bytes:
    if len(sealed) <= _NONCE_BYTES:
        raise InvalidTag
    return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
