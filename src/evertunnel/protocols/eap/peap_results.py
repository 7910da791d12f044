"""The extensions method of PEAP: what both sides say of the end, as type, length and value ([MS-PEAP] 2.2.8)."""

import struct
from dataclasses import dataclass

from evertunnel.protocols.eap.packet import EAPError
from evertunnel.protocols.eap.peap_keys import BINDING_TYPE, RESULT_TYPE

SUCCESS, FAILURE = 1, 2
_MANDATORY, _TYPE_MASK = 0x8000, 0x3FFF
_HEAD = struct.Struct("!HH")
_RESULT = struct.Struct("!HHH")


@dataclass(frozen=True, slots=True)
class Results:
    """What a peer answered. `binding` is its whole crypto-binding, None when there was none."""

    result: int
    binding: bytes | None


def build_result(*, success: bool) -> bytes:
    """The result."""
    return _RESULT.pack(_MANDATORY | RESULT_TYPE, 2, SUCCESS if success else FAILURE)


def decode_results(data: bytes) -> Results:
    """Read what stands after the type. Each may be there once, in any order; what we do not know must be optional.

    Raises EAPError.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < _HEAD.size:
            raise EAPError("PEAP result is cut off")
        kind, length = _HEAD.unpack_from(data, at)
        whole = data[at : at + _HEAD.size + length]
        if len(whole) != _HEAD.size + length:
            raise EAPError("PEAP result is shorter than it says")
        at += len(whole)
        number = kind & _TYPE_MASK
        if number in (RESULT_TYPE, BINDING_TYPE):
            if number in found:
                raise EAPError(f"PEAP result of type {number} came twice")
            found[number] = whole
        elif kind & _MANDATORY:
            raise EAPError(f"PEAP result of type {number} is mandatory, and we do not know it")
    result = found.get(RESULT_TYPE)
    if result is None or len(result) != _RESULT.size:
        raise EAPError("PEAP answer without a result")
    value = _RESULT.unpack(result)[2]
    if value not in (SUCCESS, FAILURE):
        raise EAPError(f"PEAP result {value} is neither success nor failure")
    return Results(value, found.get(BINDING_TYPE))
