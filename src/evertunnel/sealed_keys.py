"""Keys in a backup, under a passphrase: scrypt to a key, AES-256-GCM bound to the manifest they travel with."""

import base64
import binascii
import json
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from evertunnel.backup_archive import KeySeal
from evertunnel.errors import InvalidInputError


def build_seal() -> KeySeal:
    """A fresh one, for one backup."""
    return KeySeal(salt=secrets.token_hex(16), nonce=secrets.token_hex(12))


def seal_keys(files: dict[str, bytes], passphrase: str, *, seal: KeySeal, manifest: bytes) -> bytes:
    """The keys, encrypted; they open only with this manifest, so that nobody changes it unseen."""
    plain = json.dumps({name: base64.b64encode(data).decode() for name, data in files.items()}).encode()
    return _derive(passphrase, seal).encrypt(bytes.fromhex(seal.nonce), plain, manifest)


def unseal_keys(sealed: bytes, passphrase: str, *, seal: KeySeal, manifest: bytes) -> dict[str, bytes]:
    """The keys. Raises InvalidInputError."""
    try:
        plain = _derive(passphrase, seal).decrypt(bytes.fromhex(seal.nonce), sealed, manifest)
    except (InvalidTag, ValueError) as error:
        raise InvalidInputError(
            "the keys in the backup do not open: another passphrase, or it was damaged or changed"
        ) from error
    try:
        return {str(name): base64.b64decode(text, validate=True) for name, text in json.loads(plain).items()}
    except (ValueError, TypeError, AttributeError, binascii.Error) as error:
        raise InvalidInputError("the keys in the backup cannot be read") from error


def _derive(passphrase: str, seal: KeySeal) -> AESGCM:
    salt = bytes.fromhex(seal.salt)
    return AESGCM(Scrypt(salt=salt, length=32, n=seal.n, r=seal.r, p=seal.p).derive(passphrase.encode()))
