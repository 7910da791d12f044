"""The condition about devices: a device filter, which includes or excludes those its rule is true of.

A property that is null answers as Entra's does (reference: 1.8). One that nobody told us of is unknown: a device we
know may have any value there, so it is not excluded for it, and whether it is included is unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evertunnel.access.conditional.device_filter import DeviceFilter, compile_device_filter
from evertunnel.access.conditional.device_filter_properties import PROPERTIES, PropertyKind
from evertunnel.access.conditional.sign_in import SignIn
from evertunnel.access.conditional.verdicts import MATCHES, Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import (
    is_set,
    list_unknown,
    read_flag,
    read_object,
    read_text,
    read_texts,
    refuse_unknown,
)

PATH = "$.conditions.devices"
_FILTER_PATH = f"{PATH}.deviceFilter"
# What decides whether extension attributes count at all.
_AVAILABILITY = ("isCompliant", "trustType", "mdmAppId")
_NOT_INCLUDED = Verdict(False, "devices", "devices: the rule is not true of the device")
_EXCLUDED = Verdict(False, "devices", "devices: the rule is true of the device, which excludes it")
_UNKNOWN = Verdict(None, "devices", "devices: not everything the rule asks for is known of the device")
_FIELD = Verdict(None, "devices", "devices: a field that is not known could include the device")


@dataclass(frozen=True, slots=True)
class Devices:
    """A filter and what it does. `narrowed` by a field we do not know."""

    filter: DeviceFilter
    excludes: bool
    needs_availability: bool
    narrowed: bool

    def check(self, sign_in: SignIn) -> Verdict:
        """A device that is not registered has only nulls, and that is known of it."""
        device = sign_in.device
        known = device is None or self._is_told(device)
        if self.excludes:
            return _EXCLUDED if known and not self.narrowed and self.filter.matches(device) else MATCHES
        if not known:
            return _UNKNOWN
        if not self.filter.matches(device):
            return _NOT_INCLUDED
        return _FIELD if self.narrowed else MATCHES

    def _is_told(self, device: Mapping[str, Any]) -> bool:
        for name in self.filter.properties:
            if name not in device:
                return False
        if not self.needs_availability or device.get("isCompliant") is True:
            return True
        return all(name in device for name in _AVAILABILITY)


def read_devices(value: Any, notes: Notes) -> list[Condition]:
    """Read `conditions.devices`. Raises PolicyError with the place in the rule."""
    if not is_set(value):
        return []
    document = read_object(value, PATH)
    found: list[Condition] = []
    if notes.add_unknown(list_unknown(document, PATH, ("deviceFilter",))):
        found.append(Fixed(_FIELD))
    if is_set(document.get("deviceFilter")):
        found.append(_read_filter(document["deviceFilter"], notes))
    return found


def _read_filter(value: Any, notes: Notes) -> Condition:
    document = read_object(value, _FILTER_PATH)
    unknown = list_unknown(document, _FILTER_PATH, ("mode", "rule"))
    for place in unknown:
        notes.add(place, "is a condition we do not know")
    mode = read_text(document.get("mode"), f"{_FILTER_PATH}.mode", choices=("include", "exclude"))
    path = f"{_FILTER_PATH}.rule"
    compiled = compile_device_filter(read_text(document.get("rule"), path), path)
    return Devices(
        compiled,
        excludes=mode == "exclude",
        needs_availability=any(name.startswith("extensionAttribute") for name in compiled.properties),
        narrowed=bool(unknown),
    )


# Of a device on record they are ours to say.
_OURS = ("displayName", "isCompliant")


def read_device_properties(value: Any, path: str, *, ours_too: bool = False) -> Mapping[str, Any]:
    """Properties of a device that somebody supposes, by their names; null is null. Raises PolicyError.

    With `ours_too` also those that we say of a device on record.
    """
    if value is None:
        return {}
    properties = read_object(value, path)
    kinds = {each.name: each.kind for each in PROPERTIES if ours_too or each.name not in _OURS}
    refuse_unknown(properties, path, tuple(kinds))
    for name, each in properties.items():
        if each is None:
            continue
        if kinds[name] is PropertyKind.TEXTS:
            read_texts(each, f"{path}.{name}")
        elif kinds[name] is PropertyKind.BOOLEAN:
            read_flag(each, f"{path}.{name}", default=False)
        else:
            read_text(each, f"{path}.{name}")
    return properties
