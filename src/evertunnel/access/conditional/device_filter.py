"""Entra's filter for devices: a rule about a device's properties, compiled once and asked at every decision.

What an unknown or unregistered device answers (Microsoft's table "Policy behavior with filter for devices"):

- A property that is not known is null, and all are null for a device that is not registered.
- Positive operators (eq, startsWith, endsWith, contains, in) are never true of null, negative ones always are.
- `-eq null` asks for null itself: it is true of null, and `-ne null` is not.
- `-and`, `-or`, `-not` know only true and false: `-not` of a positive operator is true of null.
- Extension attributes are null unless the device is managed by Intune, compliant or hybrid joined.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from evertunnel.access.conditional.device_filter_parser import (
    Comparison,
    Disjunction,
    Negation,
    Node,
    parse_device_filter,
)
from evertunnel.access.conditional.device_filter_properties import (
    EXTENSION_ATTRIBUTES,
    POSITIVE,
    Operator,
    Property,
    PropertyKind,
    fold_case,
)

_Texts = list[str] | tuple[str, ...] | set[str] | frozenset[str]
# What a device says of a property: a text; a bool for isCompliant; texts for physicalIds and systemLabels.
DeviceValue = str | bool | _Texts | None
# Property names as Entra spells them, without "device."; what is absent is null.
DeviceProperties = Mapping[str, DeviceValue]

# The application id by which Entra names Intune in mdmAppId, the same in every tenant.
INTUNE = "0000000A-0000-0000-C000-000000000000"
_UNREGISTERED: DeviceProperties = MappingProxyType({})

_Test = Callable[[DeviceProperties], bool]
_Text = Callable[[DeviceProperties], str | None]


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """A compiled rule. `properties` are those it asks for, in Entra's spelling, in the order of the rule."""

    rule: str
    properties: tuple[str, ...]
    _test: _Test = field(repr=False, compare=False)

    def matches(self, device: DeviceProperties | None) -> bool:
        """Whether the rule is true of a device; None is a device that is not registered.

        A value of a kind its property cannot have is null. Never raises.
        """
        return self._test(_UNREGISTERED if device is None else device)


def compile_device_filter(rule: str, path: str) -> DeviceFilter:
    """Read a rule. `path` is its JSON path in the policy. Raises PolicyError: the column, and what was expected."""
    tree = parse_device_filter(rule, path)
    return DeviceFilter(rule, tuple(dict.fromkeys(_list_names(tree))), _compile(tree))


def list_properties(device_filter: DeviceFilter) -> list[str]:
    """The properties a rule asks for, each once: all that must be known for it to mean what its author meant.

    A rule about extension attributes also depends on what makes them available; that is not listed.
    """
    return list(device_filter.properties)


def _list_names(node: Node) -> list[str]:
    if isinstance(node, Comparison):
        return [node.property.name]
    parts = (node.part,) if isinstance(node, Negation) else node.parts
    return [name for part in parts for name in _list_names(part)]


def _compile(node: Node) -> _Test:
    if isinstance(node, Comparison):
        return _compile_comparison(node)
    if isinstance(node, Negation):
        return _negate(_compile(node.part))
    tests = tuple(_compile(part) for part in node.parts)
    # A conjunction ends at the first false, a disjunction at the first true.
    last_word = isinstance(node, Disjunction)

    def test(device: DeviceProperties) -> bool:
        for part in tests:
            if part(device) is last_word:
                return last_word
        return not last_word

    return test


def _negate(test: _Test) -> _Test:
    return lambda device: not test(device)


def _compile_comparison(node: Comparison) -> _Test:
    positive = POSITIVE.get(node.operator)
    if positive is not None:
        return _negate(_compile_positive(node.property, positive, node.wanted))
    return _compile_positive(node.property, node.operator, node.wanted)


def _compile_positive(entry: Property, operator: Operator, wanted: str | bool | tuple[str, ...] | None) -> _Test:
    name = entry.name
    if entry.kind is PropertyKind.BOOLEAN:
        return lambda device: _read_boolean(device, name) is wanted
    if entry.kind is PropertyKind.TEXTS:
        assert isinstance(wanted, str)
        element = fold_case(wanted)
        return lambda device: any(fold_case(text) == element for text in _read_texts(device, name))
    if name in EXTENSION_ATTRIBUTES:
        return _compile_text(lambda device: _read_extension_attribute(device, name), operator, wanted)
    return _compile_text(lambda device: _read_text(device, name), operator, wanted)


def _compile_text(read: _Text, operator: Operator, wanted: str | bool | tuple[str, ...] | None) -> _Test:
    """`read` gives the folded text of a device, or None for null."""
    if wanted is None:
        return lambda device: read(device) is None
    if isinstance(wanted, tuple):
        members = frozenset(map(fold_case, wanted))
        return lambda device: read(device) in members
    assert isinstance(wanted, str)
    text = fold_case(wanted)
    if operator is Operator.EQ:
        return lambda device: read(device) == text
    if operator is Operator.STARTS_WITH:
        return lambda device: (found := read(device)) is not None and found.startswith(text)
    if operator is Operator.ENDS_WITH:
        return lambda device: (found := read(device)) is not None and found.endswith(text)
    assert operator is Operator.CONTAINS
    return lambda device: (found := read(device)) is not None and text in found


def _read_text(device: DeviceProperties, name: str) -> str | None:
    value = device.get(name)
    return fold_case(value) if isinstance(value, str) else None


def _read_boolean(device: DeviceProperties, name: str) -> bool | None:
    value = device.get(name)
    if isinstance(value, str):
        return {"TRUE": True, "FALSE": False}.get(fold_case(value))
    return value if isinstance(value, bool) else None


def _read_texts(device: DeviceProperties, name: str) -> _Texts:
    """Empty for null. A single text is a collection of one, not of its letters."""
    value = device.get(name)
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple, set, frozenset)):
        return ()
    return [text for text in value if isinstance(text, str)]


def _read_extension_attribute(device: DeviceProperties, name: str) -> str | None:
    """Microsoft: its value is available for devices that are Intune managed, compliant or hybrid joined only."""
    text = _read_text(device, name)
    if text is None or not (
        _read_boolean(device, "isCompliant")
        or _read_text(device, "trustType") == "SERVERAD"
        or _read_text(device, "mdmAppId") == INTUNE
    ):
        return None
    return text
