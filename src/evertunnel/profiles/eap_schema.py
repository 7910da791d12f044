"""What Microsoft's EAP schemas demand beyond names: the namespace of each element, and the order inside EapType.

The readers go by local names and take any order; whether Windows does is not documented, so both are reported.
"""

from collections.abc import Iterator

from evertunnel.profiles.findings import Level
from evertunnel.profiles.xml_reading import XMLReader
from evertunnel.profiles.xml_tree import Node

_BASE = "http://www.microsoft.com/provisioning/"
HOST_CONFIG = _BASE + "EapHostConfig"
COMMON = _BASE + "EapCommon"
CONNECTION = _BASE + "BaseEapConnectionPropertiesV1"
TLS_1, TLS_2, TLS_3 = (f"{_BASE}EapTlsConnectionPropertiesV{number}" for number in (1, 2, 3))
PEAP_1, PEAP_2, PEAP_3 = (f"{_BASE}MsPeapConnectionPropertiesV{number}" for number in (1, 2, 3))
MSCHAP = _BASE + "MsChapV2ConnectionPropertiesV1"

_METHODS = {"13": TLS_1, "25": PEAP_1, "26": MSCHAP}
_LATER = {
    TLS_1: {"PerformServerValidation": TLS_2, "AcceptServerName": TLS_2, "TLSExtensions": TLS_2},
    TLS_2: {"FilteringInfo": TLS_3},
    PEAP_1: {
        "PerformServerValidation": PEAP_2, "AcceptServerName": PEAP_2, "IdentityPrivacy": PEAP_2,
        "PeapExtensionsV2": PEAP_2,
    },
    PEAP_2: {"AllowPromptingWhenServerCANotFound": PEAP_3},
}  # fmt: skip
_ORDER = {
    TLS_1: ["CredentialsSource", "ServerValidation", "DifferentUsername", "PerformServerValidation",
            "AcceptServerName", "TLSExtensions"],
    PEAP_1: ["ServerValidation", "FastReconnect", "InnerEapOptional", "Eap", "EnableQuarantineChecks",
             "RequireCryptoBinding", "PeapExtensions"],
}  # fmt: skip
# GroupSmartCardCerts is seen in the second and in the third.
_ANY = frozenset(["GroupSmartCardCerts"])
_WHY = "an EAP configuration that its schema does not accept may be refused whole"


def check_schema(reader: XMLReader, host: Node, path: str) -> None:
    """Report the first element in a wrong namespace, and every EapType in another order than the schema's."""
    wrong = next(_find_wrong(host, HOST_CONFIG, path), None)
    if wrong is not None:
        node, expected, at = wrong
        reader.report(
            Level.ERROR, "eap-namespace", "authentication", node, at,
            f"{node.name} stands in the namespace {node.namespace[:80]!r}", _WHY, f'write xmlns="{expected}"',
        )  # fmt: skip
    for kind, at in _find_kinds(host, path):
        order = _ORDER.get(kind.namespace, [])
        known = [child.name for child in kind.children if child.name in order]
        if known != sorted(known, key=order.index):
            reader.report(
                Level.ERROR, "eap-order", "authentication", kind, at,
                "the elements of EapType stand in another order than the schema's", _WHY,
                f"order them {', '.join(order)}",
            )  # fmt: skip


def _find_wrong(node: Node, expected: str, path: str) -> Iterator[tuple[Node, str, str]]:
    if node.namespace != expected:
        yield node, expected, path
        return
    number = node.find("Type") if node.name == "Eap" else None
    for child in node.children:
        inside = f"{path}/{child.name}"
        if child.name == "EapType" and node.name == "Eap":
            # TTLS, TEAP and others are carried along as they are.
            if number is not None and number.text in _METHODS:
                yield from _find_wrong(child, _METHODS[number.text], inside)
        elif child.name == "Eap":
            yield from _find_wrong(child, CONNECTION, inside)
        elif node.name == "EapMethod":
            yield from _find_wrong(child, COMMON, inside)
        elif child.name not in _ANY:
            yield from _find_wrong(child, _LATER.get(expected, {}).get(child.name, expected), inside)


def _find_kinds(node: Node, path: str) -> Iterator[tuple[Node, str]]:
    for child in node.children:
        if child.name == "EapType":
            yield child, f"{path}/{child.name}"
        yield from _find_kinds(child, f"{path}/{child.name}")
