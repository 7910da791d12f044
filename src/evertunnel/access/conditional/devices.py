"""The condition about devices: a device filter, which includes or excludes those its rule is true of."""

from typing import Any

from evertunnel.access.conditional.verdicts import Condition, Fixed, Notes, Verdict
from evertunnel.access.documents import is_set, list_unknown, read_object, read_text

PATH = "$.conditions.devices"
_FILTER_PATH = f"{PATH}.deviceFilter"
_UNKNOWN = Verdict(None, "devices", "devices: the device filter cannot be evaluated")
_FIELD = Verdict(None, "devices", "devices: a field that is not known could include the device")


def read_devices(value: Any, notes: Notes) -> list[Condition]:
    """Read `conditions.devices`. Raises PolicyError with the place in the rule."""
    if not is_set(value):
        return []
    document = read_object(value, PATH)
    found: list[Condition] = []
    if notes.add_unknown(list_unknown(document, PATH, ("deviceFilter",))):
        found.append(Fixed(_FIELD))
    if is_set(document.get("deviceFilter")):
        found += _read_filter(document["deviceFilter"], notes)
    return found


def _read_filter(value: Any, notes: Notes) -> list[Condition]:
    document = read_object(value, _FILTER_PATH)
    unknown = list_unknown(document, _FILTER_PATH, ("mode", "rule"))
    mode = read_text(document.get("mode"), f"{_FILTER_PATH}.mode", choices=("include", "exclude"))
    read_text(document.get("rule"), f"{_FILTER_PATH}.rule")
    notes.add_unknown([*unknown, _FILTER_PATH])
    return [] if mode == "exclude" else [Fixed(_UNKNOWN)]
