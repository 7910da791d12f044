"""What a device filter may ask for: the properties, and for each the operators and values that Entra allows."""

import re
from dataclasses import dataclass
from enum import Enum, StrEnum


class Operator(StrEnum):
    """A comparison, written as in a rule but for the hyphen."""

    EQ = "eq"
    NE = "ne"
    STARTS_WITH = "startsWith"
    NOT_STARTS_WITH = "notStartsWith"
    ENDS_WITH = "endsWith"
    NOT_ENDS_WITH = "notEndsWith"
    CONTAINS = "contains"
    NOT_CONTAINS = "notContains"
    IN = "in"
    NOT_IN = "notIn"


# Every negative operator is true exactly where its positive one is not: so it is true of what is unknown.
POSITIVE = {
    Operator.NE: Operator.EQ,
    Operator.NOT_STARTS_WITH: Operator.STARTS_WITH,
    Operator.NOT_ENDS_WITH: Operator.ENDS_WITH,
    Operator.NOT_CONTAINS: Operator.CONTAINS,
    Operator.NOT_IN: Operator.IN,
}
# Operators and words of Entra's rules for dynamic groups, which its device filters do not have.
OF_DYNAMIC_GROUPS = frozenset({"match", "notmatch", "any", "all", "le", "ge"})


class PropertyKind(Enum):
    """What a property holds."""

    TEXT = "text"
    BOOLEAN = "boolean"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Property:
    """One property. `choices` are the only texts it can be compared with; empty: any text, or any GUID."""

    name: str
    operators: tuple[Operator, ...]
    kind: PropertyKind = PropertyKind.TEXT
    choices: tuple[str, ...] = ()
    is_guid: bool = False

    def allows(self, text: str) -> bool:
        """Whether the property can be compared with a text. Case does not count."""
        if self.is_guid:
            return _GUID.fullmatch(text) is not None
        return not self.choices or fold_case(text) in map(fold_case, self.choices)

    def describe_values(self) -> str:
        """What the property can be compared with, for a message."""
        if self.is_guid:
            return "a GUID such as 0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f in quotes"
        if self.kind is PropertyKind.BOOLEAN:
            return "True or False"
        return " or ".join(f'"{choice}"' for choice in self.choices) or "a text in quotes"


_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_EQUALITY = (Operator.EQ, Operator.NE)
_MEMBERSHIP = (*_EQUALITY, Operator.IN, Operator.NOT_IN)
_CONTAINMENT = (Operator.CONTAINS, Operator.NOT_CONTAINS)
EXTENSION_ATTRIBUTES = tuple(f"extensionAttribute{number}" for number in range(1, 16))

# Microsoft's table "Supported operators and device properties for filters". Names in the case Entra writes them.
PROPERTIES = (
    Property("deviceId", _MEMBERSHIP, is_guid=True),
    Property("displayName", tuple(Operator)),
    Property("deviceOwnership", _EQUALITY, choices=("Personal", "Company")),
    Property("enrollmentProfileName", tuple(Operator)),
    Property("isCompliant", _EQUALITY, PropertyKind.BOOLEAN, choices=("True", "False")),
    Property("manufacturer", tuple(Operator)),
    Property("mdmAppId", _MEMBERSHIP, is_guid=True),
    Property("model", tuple(Operator)),
    Property("operatingSystem", tuple(Operator)),
    # Compared as text: "10.0.9" does not come before "10.0.10", and Entra has no operator that could ask.
    Property("operatingSystemVersion", tuple(Operator)),
    Property("physicalIds", _CONTAINMENT, PropertyKind.TEXTS),
    Property("profileType", _EQUALITY, choices=("RegisteredDevice", "SecureVM", "Printer", "Shared", "IoT")),
    # Any text: AzureResource, M365Managed and MultiUser are "some of the supported values"; CloudPC is another.
    Property("systemLabels", _CONTAINMENT, PropertyKind.TEXTS),
    Property("trustType", _EQUALITY, choices=("AzureAD", "ServerAD", "Workplace")),
    *(Property(name, tuple(Operator)) for name in EXTENSION_ATTRIBUTES),
)


def fold_case(text: str) -> str:
    """A text without its case, one character for one, to be compared with another.

    What is not ASCII never becomes ASCII: a long s is no s, so that a look-alike name is another name.
    """
    if text.isascii():
        return text.upper()
    return "".join(
        upper if len(upper := character.upper()) == 1 and upper.isascii() == character.isascii() else character
        for character in text
    )
