"""The facts that can be known, by name, and the values each can have. Any other name is refused: nobody would read it.

The properties of device filters have Entra's names, the rest are ours. `isCompliant` and `displayName` are not here:
the first follows from `compliant`, the second is the device's name.
"""

from dataclasses import dataclass
from enum import Enum

from evertunnel.access.conditional.device_filter_properties import PROPERTIES, Property, PropertyKind, fold_case
from evertunnel.access.facts import COMPLIANT, DOMAIN_JOINED, SIGN_IN_RISK, USER_RISK
from evertunnel.errors import InvalidInputError
from evertunnel.model import SubjectKind

DISK_ENCRYPTION = "disk_encryption"
FIREWALL = "firewall"
SCREEN_LOCK = "screen_lock"
SECURE_BOOT = "secure_boot"
ANTIVIRUS = "antivirus"
LINUX_DISTRIBUTION = "linux_distribution"
OPERATING_SYSTEM = "operatingSystem"
OPERATING_SYSTEM_VERSION = "operatingSystemVersion"

# What compliance policies look at.
POSTURE = frozenset({
    DISK_ENCRYPTION, FIREWALL, SCREEN_LOCK, SECURE_BOOT, ANTIVIRUS,
    OPERATING_SYSTEM, OPERATING_SYSTEM_VERSION, LINUX_DISTRIBUTION,
})  # fmt: skip
# What a device may say of itself: nothing that makes it ours, and no verdict.
SAID_BY_DEVICES = POSTURE | {"manufacturer", "model"}
# What a compliance policy keeps beside its verdict.
NOT_COMPLIANT_SINCE = "not_compliant_since"

RISK_LEVELS = ("none", "low", "medium", "high")
_LONGEST_TEXT = 256
_TEXTS_AT_MOST = 32
_WORDS = {"true": "true", "false": "false"}


class FactKind(Enum):
    """What the value of a fact is."""

    YES_NO = "true or false"
    RISK = "none, low, medium or high"
    TEXT = "a text"
    TEXTS = "texts, separated by semicolons"


@dataclass(frozen=True, slots=True)
class FactName:
    """A fact by its name. `allowed` says more about texts, where Entra has only some of them."""

    name: str
    subject: SubjectKind
    kind: FactKind
    allowed: Property | None = None


def _describe_property(known: Property) -> FactName:
    kind = FactKind.TEXTS if known.kind is PropertyKind.TEXTS else FactKind.TEXT
    return FactName(known.name, SubjectKind.DEVICE, kind, known)


_NAMES = (
    *(
        FactName(name, SubjectKind.DEVICE, FactKind.YES_NO)
        for name in (COMPLIANT, DOMAIN_JOINED, DISK_ENCRYPTION, FIREWALL, SCREEN_LOCK, SECURE_BOOT, ANTIVIRUS)
    ),
    FactName(LINUX_DISTRIBUTION, SubjectKind.DEVICE, FactKind.TEXT),
    *(_describe_property(known) for known in PROPERTIES if known.name not in ("isCompliant", "displayName")),
    FactName(SIGN_IN_RISK, SubjectKind.USER, FactKind.RISK),
    FactName(USER_RISK, SubjectKind.USER, FactKind.RISK),
)
_BY_NAME = {(known.subject, known.name.casefold()): known for known in _NAMES}
_FOLLOWS = {
    "iscompliant": f"follows from {COMPLIANT}: say that",
    "displayname": "is the device's name: evertunnel device rename changes it",
}


def list_fact_names(subject: SubjectKind) -> list[str]:
    """The facts there are about users, or about devices."""
    return [known.name for known in _NAMES if known.subject is subject]


def get_fact_name(subject: SubjectKind, name: str) -> FactName:
    """A fact by its name, in any case. Raises InvalidInputError with those there are."""
    found = _BY_NAME.get((subject, name.strip().casefold()))
    if found is None:
        quoted = repr(name if len(name) <= 80 else f"{name[:80]}...")
        known = ", ".join(list_fact_names(subject))
        follows = _FOLLOWS.get(name.strip().casefold()) if subject is SubjectKind.DEVICE else None
        raise InvalidInputError(
            f"{quoted} {follows}" if follows else f"{quoted} is no fact about a {subject.value}; known are {known}"
        )
    return found


def read_value(known: FactName, text: str) -> str:
    """The value as it is stored. Raises InvalidInputError."""
    text = text.strip()
    if not text or len(text) > _LONGEST_TEXT * (_TEXTS_AT_MOST if known.kind is FactKind.TEXTS else 1):
        raise InvalidInputError(f"{known.name} is {known.kind.value}, not empty and at most {_LONGEST_TEXT} characters")
    if not text.isprintable():
        raise InvalidInputError(f"{known.name} holds a character that cannot be printed")
    match known.kind:
        case FactKind.YES_NO if text.lower() in _WORDS:
            return text.lower()
        case FactKind.RISK if text.lower() in RISK_LEVELS:
            return text.lower()
        case FactKind.TEXTS:
            return _read_texts(known, text)
        case FactKind.TEXT:
            return _read_text(known, text)
    raise InvalidInputError(f"{known.name} is {known.kind.value}, not {text[:80]!r}")


def _read_text(known: FactName, text: str) -> str:
    allowed = known.allowed
    if allowed is None:
        return text
    if not allowed.allows(text):
        raise InvalidInputError(f"{known.name} is {allowed.describe_values()}, not {text[:80]!r}")
    return next((choice for choice in allowed.choices if fold_case(choice) == fold_case(text)), text)


def _read_texts(known: FactName, text: str) -> str:
    texts = [part.strip() for part in text.split(";")]
    if len(texts) > _TEXTS_AT_MOST or not all(0 < len(part) <= _LONGEST_TEXT for part in texts):
        raise InvalidInputError(
            f"{known.name} is at most {_TEXTS_AT_MOST} texts, separated by semicolons, none of them empty"
        )
    return ";".join(dict.fromkeys(texts))


def split_texts(value: str) -> tuple[str, ...]:
    """The texts of a stored value of the kind TEXTS."""
    return tuple(value.split(";"))
