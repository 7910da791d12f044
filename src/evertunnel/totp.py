"""Codes of an authenticator app: TOTP (RFC 6238) as every app knows it, with SHA-1, six digits, thirty seconds."""

import base64
import hmac
import secrets
from datetime import datetime

import pyotp

_SECRET_BYTES = 20  # RFC 4226 4, R6: 160 bits
_STEP_SECONDS = 30
_STEPS_EACH_WAY = 1  # RFC 6238 5.2: for a clock that is a little off, and for typing


def make_secret() -> bytes:
    """A fresh one."""
    return secrets.token_bytes(_SECRET_BYTES)


def encode_secret(secret: bytes) -> str:
    """As apps take it: base32."""
    return base64.b32encode(secret).decode("ascii")


def build_uri(secret: bytes, *, user_name: str, issuer: str) -> str:
    """The otpauth:// address a QR code carries into an app."""
    return pyotp.TOTP(encode_secret(secret)).provisioning_uri(name=user_name, issuer_name=issuer)


def find_step(secret: bytes, code: str, *, now: datetime) -> int | None:
    """The step, counted from 1970, that a code is of: this one or one beside it. None: the code is wrong.

    Spaces are how people group digits. It takes as long for a wrong code as for a right one.
    """
    given = "".join(code.split()).encode(errors="replace")
    generator = pyotp.HOTP(encode_secret(secret))
    present = int(now.timestamp()) // _STEP_SECONDS
    found = None
    for step in range(present - _STEPS_EACH_WAY, present + _STEPS_EACH_WAY + 1):
        if hmac.compare_digest(generator.at(step).encode("ascii"), given):
            found = step
    return found
