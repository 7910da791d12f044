"""Shared secrets of gateways: made long, looked at when they are given, two at once while one replaces the other."""

import base64
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from sqlalchemy import update

from evertunnel.audit import Audit, AuditEntry
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.storage import gateways, tables
from evertunnel.storage.gateways import radius_secret_context
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.store import Store

Seal = Callable[[bytes, str], bytes]

_SECRET_BYTES = 32
_LONGEST = 128
# What everybody can try: of 80 bits that would take longer than anybody waits (RFC 2865 3 asks for 16 octets).
_SHORTEST_GOOD, _GOOD_BITS = 16, 80
_WORDS = (
    "secret",
    "radius",
    "testing",
    "password",
    "passwort",
    "cisco",
    "admin",
    "vpn",
    "shared",
    "test",
    "123",
    "abc",
)
# Everybody knows it: it stands for TLS (RFC 6614 2.3).
_PUBLIC = "radsec"


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret to give to a gateway, and why it is weak, if it is. Shown once, kept sealed."""

    text: str
    weakness: str = ""


def make_secret() -> str:
    """32 random bytes in base32: letters and digits that every configuration file takes."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=").lower()


def take_secret(given: str | None) -> NewSecret:
    """The one an administrator gave, or a new one. Raises InvalidInputError for one that cannot be."""
    if given is None:
        return NewSecret(make_secret())
    if not given or not given.isascii() or not given.isprintable() or len(given) > _LONGEST:
        raise InvalidInputError(
            f"the secret: give up to {_LONGEST} printable ASCII characters, or none to have one made"
        )
    if given.casefold() == _PUBLIC:
        raise InvalidInputError(f"the secret: {_PUBLIC!r} stands for TLS, and everybody knows it")
    return NewSecret(given, find_weakness(given))


def find_weakness(secret: str) -> str:
    """Why a secret can be guessed by whoever hears one packet, in words; empty when nothing says so."""
    if len(secret) < _SHORTEST_GOOD:
        return f"it has {len(secret)} characters, and {_SHORTEST_GOOD} are the least"
    rest = secret.casefold()
    for word in _WORDS:
        rest = rest.replace(word, "")
    if len(rest) < _SHORTEST_GOOD - 4:
        return "most of it is words that are tried first"
    if (bits := _estimate_bits(rest)) < _GOOD_BITS:
        return f"it repeats itself: about {bits} bits of it are chance, and {_GOOD_BITS} are the least"
    return ""


def _estimate_bits(text: str) -> int:
    """Length times the chance in one character, as often as each one comes, and nothing for what counts or repeats."""
    # What comes again and again counts once.
    text = text[: next(period for period in range(1, len(text) + 1) if text.startswith(text[period:]))]
    steps = {ord(after) - ord(before) for before, after in pairwise(text)}
    if len(steps) < 4:
        return 0
    share = [text.count(character) / len(text) for character in set(text)]
    return round(len(text) * -sum(each * math.log2(each) for each in share))


def rotate_secret(
    store: Store, name: str, *, given: str | None = None, seal: Seal, actor: str, now: datetime
) -> NewSecret:
    """Make another secret the gateway's; the one before counts too until the rotation is finished.

    Raises NotFoundError, AlreadyExistsError while one is not finished, InvalidInputError.
    """
    new = take_secret(given)
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        if row.previous_secret_sealed is not None:
            raise AlreadyExistsError(
                f"the secret of {row.name} is being rotated since {row.secret_rotated_at:%F %T} UTC: "
                f"`evertunnel gateway secret finish {row.name}` ends that"
            )
        if not gateways.read_gateway(row).radius_address:
            raise InvalidInputError(f"gateway {row.name} asks over RadSec alone, where certificates are its secret")
        if given is not None and not row.foreign:
            raise InvalidInputError(f"gateway {row.name} is told its secret by us: let it be made")
        tx.connection.execute(
            update(tables.gateways)
            .where(tables.gateways.c.id == row.id)
            .values(
                radius_secret_sealed=seal(new.text.encode(), radius_secret_context(row.id)),
                previous_secret_sealed=row.radius_secret_sealed,
                secret_rotated_at=now,
                secret_used_at=None,
                previous_secret_used_at=None,
                secret_weakness=new.weakness,
            )
        )
        tx.raise_epoch(GATEWAY, row.id)
        tx.record(AuditEntry(Audit.GATEWAY_SECRET_ROTATE, actor, row.name, row.id, {"weakness": new.weakness}))
    return new


def finish_rotation(store: Store, name: str, *, force: bool = False, actor: str, now: datetime) -> None:
    """Let the secret before count no longer. Raises NotFoundError; InvalidInputError when that would lock it out."""
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        if row.previous_secret_sealed is None:
            raise InvalidInputError(f"the secret of {row.name} is not being rotated")
        last = row.previous_secret_used_at
        if not force and (row.secret_used_at is None or (last is not None and last >= row.secret_used_at)):
            said = "nobody has used the new one yet" if row.secret_used_at is None else "the old one was used last"
            raise InvalidInputError(f"{said}: {row.name} could no longer ask. --force if that is wanted")
        tx.connection.execute(
            update(tables.gateways)
            .where(tables.gateways.c.id == row.id)
            .values(previous_secret_sealed=None, secret_rotated_at=None)
        )
        tx.raise_epoch(GATEWAY, row.id)
        tx.record(AuditEntry(Audit.GATEWAY_SECRET_FINISH, actor, row.name, row.id, {"forced": force}))
