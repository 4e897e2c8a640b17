"""Encryption at rest: the keys of a gallery, and what is encrypted with them.

Everything secret is encrypted with AES-256-GCM under a data key, 32 random bytes that only this gallery has. The
gallery keeps that key wrapped, AES-256-GCM again, under a key that it does not keep: the bytes of a key file, or what
scrypt (RFC 7914) makes of a passphrase. So a new passphrase needs no new data key; it gets one all the same, for
whoever knew the old passphrase may have read the old data key.

The row that a ciphertext belongs to is its associated data: moved to another row, it does not open.

The header of an encrypted gallery is not secret, and authenticated: all of it is associated data of the wrapped key, so
that nobody can pass a gallery off as one of an older format. Version 1, of the first lightface that encrypted, is read
and not written any more.
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
_VERSION: Final = 2
_FIRST_VERSION: Final = 1
_NONCE_BYTES: Final = 12


class GalleryCipher:
    """The open lock of one gallery. `header` is what the gallery keeps of it: nothing in it is secret."""

    def __init__(self, header: str, *, wrapping_key: bytes, data_key: bytes) -> None:
        self.header = header
        described = _read_header(header)
        self.kind: KeyKind = described["kind"]
        self.is_outdated: bool = described["version"] < _VERSION
        label = b"" if self.is_outdated else b" 2"  # so that no key serves two formats
        self._wrapping_key = wrapping_key
        self._cipher = AESGCM(hmac.digest(data_key, b"rows" + label, hashlib.sha256))
        self._blind_index_key = hmac.digest(data_key, b"look-ups" + label, hashlib.sha256)

    @classmethod
    def new(cls, key: GalleryKey) -> Self:
        """A new data key, wrapped under `key`. GalleryError for a key that is too weak or cannot be read."""
        if isinstance(key, Passphrase) and len(key.text) < SHORTEST_PASSPHRASE:
            raise GalleryError(f"the passphrase is too short; give at least {SHORTEST_PASSPHRASE} characters")
        described: dict[str, Any] = {"kind": key.kind}
        if isinstance(key, Passphrase):
            described.update(salt=os.urandom(16).hex(), cost=SCRYPT_COST)
        return cls._wrap(described, _wrapping_key(described, key))

    @classmethod
    def unlock(cls, header: str, key: GalleryKey, *, location: str) -> Self:
        """The lock that `header` describes, opened. GalleryError for the wrong key, and for a damaged header."""
        try:
            described = _read_header(header)
            if key.kind != described["kind"]:
                raise GalleryError(f"{location} is encrypted with a {described['kind']}, not a {key.kind}; give that")
            wrapped, wrapping_key = bytes.fromhex(described["wrapped"]), _wrapping_key(described, key)
            data_key = _decrypt(AESGCM(wrapping_key), wrapped, _describe(described))
            return cls(header, wrapping_key=wrapping_key, data_key=data_key)
        except InvalidTag:
            raise GalleryError(f"this is not the {key.kind} of {location}; give the right one") from None
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise GalleryError(f"{location} is damaged (the lock of its key); restore a copy") from error

    def up_to_date(self) -> Self:
        """These keys; of an older format, others of today's, which the same passphrase or key file opens."""
        return self if not self.is_outdated else self._wrap(_read_header(self.header), self._wrapping_key)

    @classmethod
    def _wrap(cls, described: dict[str, Any], wrapping_key: bytes) -> Self:
        data_key, described = os.urandom(KEY_BYTES), {**described, "version": _VERSION}
        described["wrapped"] = _encrypt(AESGCM(wrapping_key), data_key, _describe(described)).hex()
        return cls(json.dumps(described), wrapping_key=wrapping_key, data_key=data_key)

    def encrypt(self, data: bytes, associated_data: bytes) -> bytes:
        """Encrypted data, 28 bytes longer, that `decrypt` opens with the same associated data only."""
        return _encrypt(self._cipher, data, associated_data)

    def decrypt(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        """What was encrypted with that associated data. ValueError for anything else."""
        try:
            return _decrypt(self._cipher, ciphertext, associated_data)
        except InvalidTag:
            raise ValueError("what is encrypted was changed, or moved from another place") from None

    def blind_index(self, kind: str, text: str) -> str:
        """64 hex digits that stand for a text, so that it can be found without being shown."""
        return hmac.digest(self._blind_index_key, f"{kind} {text}".encode(), hashlib.sha256).hex()


def kind_of(header: str, *, location: str) -> KeyKind:
    """Which kind of key opens the gallery of that header. GalleryError for a damaged one."""
    try:
        return _read_header(header)["kind"]  # type: ignore[no-any-return]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise GalleryError(f"{location} is damaged (the lock of its key); restore a copy") from error


def _read_header(header: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(header)
    if described["version"] not in (_FIRST_VERSION, _VERSION) or described["kind"] not in ("passphrase", "key file"):
        raise ValueError("unknown encryption")
    return described


def _describe(header: dict[str, Any]) -> bytes:
    """The associated data of the wrapped key."""
    if header["version"] == _FIRST_VERSION:
        return b"lightface data key"
    return json.dumps({key: value for key, value in header.items() if key != "wrapped"}, sort_keys=True).encode()


def _wrapping_key(header: dict[str, Any], key: GalleryKey) -> bytes:
    if isinstance(key, KeyFile):
        return key.read()
    cost, salt = header["cost"], bytes.fromhex(header["salt"])
    if not isinstance(cost, int) or not 2 <= cost <= _MOST_SCRYPT_COST:
        raise ValueError(f"a cost of {cost}")
    # One passphrase, however the keyboard composes its accents.
    text = unicodedata.normalize("NFC", key.text).encode("utf-8", "surrogateescape")
    return Scrypt(salt=salt, length=KEY_BYTES, n=cost, r=_BLOCK_SIZE, p=1).derive(text)


def _encrypt(cipher: AESGCM, data: bytes, associated_data: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, data, associated_data)


def _decrypt(cipher: AESGCM, ciphertext: bytes, associated_data: bytes) -> bytes:
    if len(ciphertext) <= _NONCE_BYTES:
        raise InvalidTag
    return cipher.decrypt(ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], associated_data)
