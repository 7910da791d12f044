"""Which format a file is, and the profiles in it."""

import codecs
import json
from collections.abc import Callable
from typing import Any

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.document import decode_document, is_document
from evertunnel.profiles.dpc.read import read_dpc
from evertunnel.profiles.findings import Reading
from evertunnel.profiles.install_script import read_install_script
from evertunnel.profiles.intune import CUSTOM_TYPE, read_custom
from evertunnel.profiles.intune_vpn import VPN_TYPE
from evertunnel.profiles.powershell import find_payload
from evertunnel.profiles.read_intune_vpn import read_vpn
from evertunnel.profiles.read_profile_xml import read_profile_xml
from evertunnel.profiles.swanctl import read_swanctl

LARGEST_BYTES = 4_194_304
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_profiles(data: bytes, *, name: str) -> list[Reading]:
    """Every profile in a file; `name` is used where the format has none.

    Raises InvalidInputError with the place of what cannot be read.
    """
    text = decode_text(data)
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith(("Windows Registry Editor", "REGEDIT4")):
        return read_dpc(text)
    if find_payload(text) is not None:
        return [read_install_script(text)]
    if start.startswith(("<", "&lt;", "&LT;")) and not start.startswith("<#"):
        return [read_profile_xml(text, name=name)]
    if start.startswith(("{", "[")):
        return _read_json(start)
    if "connections" in text:
        return read_swanctl(text)
    raise InvalidInputError(
        "the format is not recognised; known are ProfileXML, .reg exports of DPC, Graph JSON, swanctl.conf, "
        "our PowerShell script and our own JSON"
    )


def decode_text(data: bytes) -> str:
    """Text in UTF-8 or UTF-16, which PowerShell writes. Raises InvalidInputError."""
    if len(data) > LARGEST_BYTES:
        raise InvalidInputError(f"the file is larger than {LARGEST_BYTES} bytes")
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and data[1:2] == b"\0":
        encoding = "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"byte {error.start}: no {encoding} text; save the file as UTF-8") from None


def _read_json(text: str) -> list[Reading]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInputError(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise InvalidInputError("the JSON is nested too deep") from None
    documents = value if isinstance(value, list) else value.get("value") if _is_envelope(value) else [value]
    readings: list[Reading] = []
    readers: dict[Any, Callable[[Any], list[Reading]]] = {
        CUSTOM_TYPE: read_custom,
        VPN_TYPE: lambda document: [read_vpn(document)],
    }
    for index, document in enumerate(documents):
        if is_document(document):
            readings.append(decode_document(document))
            continue
        kind = document.get("@odata.type") if isinstance(document, dict) else None
        reader = readers.get(kind) if isinstance(kind, str) else None
        if reader is None:
            raise InvalidInputError(f"$[{index}].@odata.type: {str(kind)[:60]!r} is no VPN profile")
        readings += reader(document)
    if not readings:
        raise InvalidInputError("the JSON holds no profile")
    return readings


def _is_envelope(value: Any) -> bool:
    return isinstance(value, dict) and "@odata.type" not in value and isinstance(value.get("value"), list)
