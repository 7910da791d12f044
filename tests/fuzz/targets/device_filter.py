"""Rules of device filters, as administrators write them."""

from evertunnel.access.conditional.device_filter import compile_device_filter, list_properties
from evertunnel.access.documents import PolicyError
from tests.fuzz.target import Target

_DEVICE = {
    "model": "X1", "isCompliant": True, "trustType": "ServerAD", "physicalIds": ["[OrderId]:1"],
    "extensionAttribute1": "a", "deviceId": "0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f",
}  # fmt: skip
_RULES = [
    'device.model -eq "X1"',
    'device.model -in ["X1", "X2"] -and (device.isCompliant -eq True -or -not (device.trustType -ne "AzureAD"))',
    'device.physicalIds -contains "[OrderId]:1" -or device.extensionAttribute1 -startsWith "a`"b"',
    'device.deviceId -eq "0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f" -and device.displayName -eq null',
]


def build() -> Target:
    """Every operator."""
    words = [
        "device.",
        "-eq ",
        "-ne ",
        "-in [",
        "-notIn ",
        "-and ",
        "-or ",
        "-not (",
        "((((",
        '"',
        "`",
        "null",
        "True",
        "]",
    ]
    return Target(check, [rule.encode() for rule in _RULES], words=[word.encode() for word in words])


def check(data: bytes) -> None:
    """Compile; what compiles says yes or no of any device."""
    try:
        found = compile_device_filter(data.decode("utf-8", "replace"), "$.rule")
    except PolicyError as error:
        assert error.path == "$.rule" and 0 < len(error.problem) < 2_000
        return
    assert list_properties(found)
    for device in (_DEVICE, {}, dict.fromkeys(_DEVICE)):
        assert found.matches(device) in (True, False)
