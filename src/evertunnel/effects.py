"""What must happen outside the database, as data. A stored effect is repeated until it is confirmed."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EffectKind(StrEnum):
    """CUT ends tunnels on one gateway; FLUSH makes it forget cached certificate answers."""

    CUT = "cut"
    FLUSH = "flush"


class EffectSubject(StrEnum):
    """Whose tunnels: all of a user, all of a device, or one session."""

    USER = "user"
    DEVICE = "device"
    SESSION = "session"


class EffectState(StrEnum):
    """PENDING is not yet confirmed; CONFIRMED was seen on the gateway; DROPPED is no longer wanted."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing to do on one gateway. `cause` says in words why; `denial_id` joins it to a denial, if one asked."""

    id: str
    kind: EffectKind
    gateway_id: str
    subject_kind: EffectSubject
    subject_id: str
    cause: str
    created_at: datetime
    denial_id: str | None = None
    tries: int = 0
