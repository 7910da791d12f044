"""EapHostConfig, the XML in which Windows keeps an EAP method: written and read.

Namespaces and order: Microsoft's EAP schemas (`C:\\Windows\\schemas\\EAPHost`, `...\\EAPMethods`). Reading goes by
local names, because writers in the wild get namespaces and order wrong and Windows takes them.
"""

from collections.abc import Iterable

from evertunnel.errors import InvalidInputError
from evertunnel.profiles.eap_schema import (
    COMMON,
    CONNECTION,
    HOST_CONFIG,
    MSCHAP,
    PEAP_1,
    PEAP_2,
    TLS_1,
    TLS_2,
    TLS_3,
    check_schema,
)
from evertunnel.profiles.findings import Level
from evertunnel.profiles.hashes import format_hash, read_hash
from evertunnel.profiles.kept_xml import is_known
from evertunnel.profiles.model import (
    CLIENT_AUTHENTICATION_OID,
    CONDITIONAL_ACCESS_OID,
    EAPTLS,
    PEAP,
    CertificateSelection,
    MSCHAPv2,
    OtherEAP,
    ServerTrust,
    Usage,
)
from evertunnel.profiles.xml_reading import XMLReader
from evertunnel.profiles.xml_tree import Node, parse_xml, render_xml

EAP_TLS_TYPE, PEAP_TYPE, MSCHAPV2_TYPE = 13, 25, 26
CONDITIONAL_ACCESS_NAME = "AAD Conditional Access"

_WELL_KNOWN = {
    "client authentication": CLIENT_AUTHENTICATION_OID,
    "smart card logon": "1.3.6.1.4.1.311.20.2.2",
    "any purpose": "1.3.6.1.4.1.311.10.12.1",
}

EAP = EAPTLS | PEAP | MSCHAPv2 | OtherEAP


def build_eap(method: EAP) -> Node:
    """The EapHostConfig of a method."""
    if isinstance(method, OtherEAP):
        return _parse_host(method.xml)
    root = Node("EapHostConfig", namespace=HOST_CONFIG)
    outer = root.add("EapMethod")
    number = {EAPTLS: EAP_TLS_TYPE, PEAP: PEAP_TYPE, MSCHAPv2: MSCHAPV2_TYPE}[type(method)]
    for name, text in (("Type", str(number)), ("VendorId", "0"), ("VendorType", "0"), ("AuthorId", "0")):
        outer.add(name, text, namespace=COMMON)
    config = root.add("Config")
    if isinstance(method, PEAP):
        _add_peap(config, method)
    elif isinstance(method, EAPTLS):
        _add_tls(config, method)
    else:
        _add_mschapv2(config, method)
    return root


def _parse_host(text: str) -> Node:
    """The EapHostConfig of a method that is carried along; it may be nothing else, and hide no method we know."""
    root = parse_xml(text)
    if root.name != "EapHostConfig":
        raise InvalidInputError(f"authentication.xml: {root.name[:60]!r} is no EapHostConfig")
    return root


def _add_tls(parent: Node, method: EAPTLS) -> None:
    eap = parent.add("Eap", namespace=CONNECTION)
    eap.add("Type", str(EAP_TLS_TYPE))
    kind = eap.add("EapType", namespace=TLS_1)
    selection = method.selection
    source = kind.add("CredentialsSource")
    if selection.smart_card:
        source.add("SmartCard")
    else:
        source.add("CertificateStore").add("SimpleCertSelection", _flag(selection.without_asking))
    _add_trust(kind, method.trust)
    kind.add("DifferentUsername", _flag(method.different_user_name))
    kind.add("PerformServerValidation", _flag(method.trust.validate), namespace=TLS_2)
    kind.add("AcceptServerName", _flag(method.trust.enforce_names), namespace=TLS_2)
    if selection.all_purpose or selection.issuers or selection.usages or selection.any_purpose_usages:
        _add_selection(kind.add("TLSExtensions", namespace=TLS_2), selection)


def _add_selection(parent: Node, selection: CertificateSelection) -> None:
    filtering = parent.add("FilteringInfo", namespace=TLS_3)
    if selection.all_purpose:
        filtering.add("AllPurposeEnabled", "true")
    if selection.issuers:
        issuers = filtering.add("CAHashList")
        issuers.attributes["Enabled"] = "true"
        for issuer in selection.issuers:
            issuers.add("IssuerHash", format_hash(issuer))
    usages = list(dict.fromkeys((*selection.usages, *selection.any_purpose_usages)))
    if usages:
        mapping = filtering.add("EKUMapping")
        for usage in usages:
            pair = mapping.add("EKUMap")
            pair.add("EKUName", usage.name)
            pair.add("EKUOID", usage.oid)
    for name, listed in (
        ("ClientAuthEKUList", selection.usages),
        ("AnyPurposeEKUList", selection.any_purpose_usages),
    ):
        if listed:
            demanded = filtering.add(name)
            demanded.attributes["Enabled"] = "true"
            for usage in listed:
                demanded.add("EKUMapInList").add("EKUName", usage.name)


def _add_peap(parent: Node, method: PEAP) -> None:
    eap = parent.add("Eap", namespace=CONNECTION)
    eap.add("Type", str(PEAP_TYPE))
    kind = eap.add("EapType", namespace=PEAP_1)
    _add_trust(kind, method.trust)
    kind.add("FastReconnect", _flag(method.fast_reconnect))
    kind.add("InnerEapOptional", _flag(method.inner_optional))
    if isinstance(method.inner, EAPTLS):
        _add_tls(kind, method.inner)
    else:
        _add_mschapv2(kind, method.inner)
    kind.add("EnableQuarantineChecks", _flag(method.quarantine))
    kind.add("RequireCryptoBinding", _flag(method.crypto_binding))
    more = kind.add("PeapExtensions")
    more.add("PerformServerValidation", _flag(method.trust.validate), namespace=PEAP_2)
    more.add("AcceptServerName", _flag(method.trust.enforce_names), namespace=PEAP_2)
    if method.anonymous_identity is not None:
        privacy = more.add("IdentityPrivacy", namespace=PEAP_2)
        privacy.add("EnableIdentityPrivacy", "true")
        privacy.add("AnonymousUserName", method.anonymous_identity)


def _add_mschapv2(parent: Node, method: MSCHAPv2) -> None:
    eap = parent.add("Eap", namespace=CONNECTION)
    eap.add("Type", str(MSCHAPV2_TYPE))
    eap.add("EapType", namespace=MSCHAP).add("UseWinLogonCredentials", _flag(method.windows_credentials))


def _add_trust(parent: Node, trust: ServerTrust) -> None:
    validation = parent.add("ServerValidation")
    validation.add("DisableUserPromptForServerValidation", _flag(not trust.prompt))
    validation.add("ServerNames", ";".join(trust.names))
    for root in trust.roots:
        validation.add("TrustedRootCA", format_hash(root))


def _flag(value: bool) -> str:
    return "true" if value else "false"


def read_eap(reader: XMLReader, host: Node, path: str) -> EAP | None:
    """The method of an EapHostConfig, None when it has none. What is wrong goes into the reader's findings."""
    config = reader.take(host, "Config", path)
    reader.skip(host, "EapMethod")
    eap = reader.take(config, "Eap", f"{path}/Config") if config else None
    if config is None or eap is None:
        reader.report(
            Level.ERROR, "eap-empty", "authentication", host, path, "the EapHostConfig holds no Eap element",
            "Windows then has no method to sign in with", "export the EAP XML of a working connection again",
        )  # fmt: skip
        return None
    method = _read_method(reader, eap, f"{path}/Config/Eap")
    outer = host.find("EapMethod")
    declared = outer.find("Type") if outer else None
    inner = eap.find("Type")
    if declared is None or inner is None or declared.text != inner.text:
        reader.report(
            Level.ERROR, "eap-type-mismatch", "authentication", declared or host, path,
            "EapMethod/Type and Config/Eap/Type differ", "Windows refuses the EAP configuration",
            "write the same type number in both (13 EAP-TLS, 25 PEAP, 26 EAP-MSCHAPv2)",
        )  # fmt: skip
    if method is None:
        # TTLS, TEAP and others are carried as they are.
        number = int(inner.text) if inner is not None and inner.text.isdecimal() and len(inner.text) < 4 else 0
        return OtherEAP(number, render_xml(host, indent=""))
    _check_vendor(reader, outer or host, f"{path}/EapMethod")
    _keep_unknown(reader, host, path)
    _keep_unknown(reader, config, f"{path}/Config")
    check_schema(reader, host, path)
    return method


def _check_vendor(reader: XMLReader, outer: Node, path: str) -> None:
    """Whose method it is: for those of Windows itself three zeros, which are written again whatever stood there."""
    for name in ("VendorId", "VendorType", "AuthorId"):
        found = outer.find(name)
        if found is None or found.text != "0":
            reader.report(
                Level.ERROR, "eap-vendor", "authentication", found or outer, f"{path}/{name}",
                f"{name} is {found.text[:40]!r}" if found else f"{name} is missing",
                "Windows looks for the method of another maker, and finds none", f"write {name} 0",
            )  # fmt: skip
            return


def _keep_unknown(reader: XMLReader, node: Node | None, path: str) -> None:
    """What of an element is not known, where it is read without the reader's help."""
    if node is not None:
        reader.keep_unknown(node, path, lambda child: is_known(node, child))


def _read_method(reader: XMLReader, eap: Node, path: str) -> EAPTLS | PEAP | MSCHAPv2 | None:
    number = reader.take(eap, "Type", path)
    kind = reader.take(eap, "EapType", path)
    if kind is None:
        kind = Node("EapType")
    path += "/EapType"
    match number.text if number else "":
        case "13":
            method: EAPTLS | PEAP | MSCHAPv2 = _read_tls(reader, kind, path)
        case "25":
            method = _read_peap(reader, kind, path)
        case "26":
            windows = reader.read_flag(kind, "UseWinLogonCredentials", path, "authentication", default=False)
            method = MSCHAPv2(windows)
        case _:
            return None
    reader.keep_unknown(kind, path)
    reader.keep_unknown(eap, path.removesuffix("/EapType"))
    return method


def _read_tls(reader: XMLReader, kind: Node, path: str) -> EAPTLS:
    source = reader.take(kind, "CredentialsSource", path)
    smart_card = source is not None and source.find("SmartCard") is not None
    store = source.find("CertificateStore") if source else None
    without_asking = True
    if source is not None and smart_card and store is not None:
        reader.report(
            Level.ERROR, "two-sources", "authentication.selection.smart_card", source, f"{path}/CredentialsSource",
            "SmartCard and CertificateStore stand side by side",
            "the certificate comes from the one or the other, and which is not documented", "remove one of them",
        )  # fmt: skip
    if store is not None:
        without_asking = reader.read_flag(
            store, "SimpleCertSelection", f"{path}/CredentialsSource/CertificateStore", "authentication", default=True
        )
    trust = _read_trust(reader, kind, path, extensions=kind)
    different = reader.read_flag(kind, "DifferentUsername", path, "authentication", default=False)
    extensions = reader.take(kind, "TLSExtensions", path)
    filtering = extensions.find("FilteringInfo") if extensions else None
    _keep_unknown(reader, source, f"{path}/CredentialsSource")
    _keep_unknown(reader, store, f"{path}/CredentialsSource/CertificateStore")
    _keep_unknown(reader, extensions, f"{path}/TLSExtensions")
    _keep_unknown(reader, filtering, f"{path}/TLSExtensions/FilteringInfo")
    selection = CertificateSelection(smart_card=smart_card, without_asking=without_asking)
    if filtering is not None:
        selection = _read_selection(reader, filtering, f"{path}/TLSExtensions/FilteringInfo", selection)
    return EAPTLS(trust, selection, different)


def _read_selection(reader: XMLReader, filtering: Node, path: str, plain: CertificateSelection) -> CertificateSelection:
    all_purpose = reader.read_flag(filtering, "AllPurposeEnabled", path, "authentication.selection", default=False)
    names: dict[str, str] = {}
    mapping = filtering.find("EKUMapping")
    for pair in mapping.find_all("EKUMap") if mapping else ():
        name, oid = pair.find("EKUName"), pair.find("EKUOID")
        if name is not None and oid is not None:
            names[name.text.lower()] = oid.text
    issuers: list[str] = []
    listed = filtering.find("CAHashList")
    reader.note(filtering, "authentication.selection", path.rpartition("/")[0])
    reader.note(listed, "authentication.selection.issuers", path)
    reader.note(filtering.find("ClientAuthEKUList"), "authentication.selection.usages", path)
    if listed is not None and _is_enabled(listed):
        issuers = _read_hashes(
            reader, listed.find_all("IssuerHash"), f"{path}/CAHashList", "authentication.selection.issuers"
        )
    order = [child.name for child in filtering.children]
    wanted = ["AllPurposeEnabled", "CAHashList", "EKUMapping", "ClientAuthEKUList", "AnyPurposeEKUList"]
    known = [name for name in order if name in wanted]
    if known != sorted(known, key=wanted.index):
        reader.report(
            Level.ERROR, "filtering-order", "authentication.selection", filtering, path,
            "the elements of FilteringInfo stand in another order than the schema's",
            "an EAP configuration that its schema does not accept may be refused whole",
            f"order them {', '.join(wanted)}",
        )  # fmt: skip
    usages = _read_usages(reader, filtering.find("ClientAuthEKUList"), names, path)
    if not any(usage.oid == CONDITIONAL_ACCESS_OID for usage in usages):
        # Beside Entra's usage DPC lists the issuers switched off, as it should; the linter knows that case.
        _report_off(reader, listed, "IssuerHash", "authentication.selection.issuers", path)
    for demanded in ("ClientAuthEKUList", "AnyPurposeEKUList"):
        _report_off(reader, filtering.find(demanded), "EKUMapInList", "authentication.selection.usages", path)
    return CertificateSelection(
        issuers=tuple(issuers),
        usages=usages,
        any_purpose_usages=_read_usages(reader, filtering.find("AnyPurposeEKUList"), names, path),
        all_purpose=all_purpose,
        smart_card=plain.smart_card,
        without_asking=plain.without_asking,
    )


def _report_off(reader: XMLReader, listed: Node | None, item: str, field: str, path: str) -> None:
    """A list with items that Windows does not look at: without the attribute a list is off."""
    if listed is not None and listed.find(item) is not None and not _is_enabled(listed):
        reader.report(
            Level.ADVICE if listed.attributes else Level.ERROR, "list-off", field, listed, f"{path}/{listed.name}",
            f"{listed.name} is not switched on",
            "Windows then takes certificates that are not on the list; it is not kept",
            f'write <{listed.name} Enabled="true">, or remove the list',
        )  # fmt: skip


def _is_enabled(node: Node) -> bool:
    return any(key.lower() == "enabled" and value.lower() in ("true", "1") for key, value in node.attributes.items())


def _read_usages(reader: XMLReader, listed: Node | None, names: dict[str, str], path: str) -> tuple[Usage, ...]:
    if listed is None or not _is_enabled(listed):
        return ()
    usages = []
    for entry in listed.find_all("EKUMapInList"):
        for name in entry.find_all("EKUName"):
            oid = names.get(name.text.lower()) or _WELL_KNOWN.get(name.text.lower())
            if oid is None:
                reader.report(
                    Level.ERROR, "usage-mapping", "authentication.selection.usages", name, path,
                    f"the usage {name.text!r} is demanded but EKUMapping does not say which OID it is",
                    "Windows finds no certificate that has it", "add an EKUMap with EKUName and EKUOID",
                )  # fmt: skip
                if name.text.lower() != CONDITIONAL_ACCESS_NAME.lower():
                    continue
                # Microsoft's documents leave no doubt what it means, though Windows is not told.
                oid = CONDITIONAL_ACCESS_OID
            usages.append(Usage(name.text, oid))
    return tuple(usages)


def _read_peap(reader: XMLReader, kind: Node, path: str) -> PEAP:
    extensions = reader.take(kind, "PeapExtensions", path)
    trust = _read_trust(reader, kind, path, extensions=extensions)
    anonymous: str | None = None
    privacy = extensions.find("IdentityPrivacy") if extensions else None
    if privacy is not None and reader.read_flag(
        privacy, "EnableIdentityPrivacy", f"{path}/PeapExtensions/IdentityPrivacy", "authentication", default=False
    ):
        name = privacy.find("AnonymousUserName")
        anonymous = name.text if name else ""
    _keep_unknown(reader, extensions, f"{path}/PeapExtensions")
    _keep_unknown(reader, privacy, f"{path}/PeapExtensions/IdentityPrivacy")
    inner = reader.take(kind, "Eap", path)
    method = _read_method(reader, inner, f"{path}/Eap") if inner else None
    if not isinstance(method, EAPTLS | MSCHAPv2):
        reader.report(
            Level.ERROR, "peap-inner", "authentication.inner", inner or kind, path,
            "PEAP holds no inner method that is known", "Windows' PEAP speaks EAP-TLS (13) or EAP-MSCHAPv2 (26) inside",
            "add an inner Eap of type 13 or 26",
        )  # fmt: skip
        method = EAPTLS(trust)
    flag = reader.read_flag
    return PEAP(
        inner=method,
        trust=trust,
        fast_reconnect=flag(kind, "FastReconnect", path, "authentication.fast_reconnect", default=True),
        inner_optional=flag(kind, "InnerEapOptional", path, "authentication.inner_optional", default=False),
        quarantine=flag(kind, "EnableQuarantineChecks", path, "authentication.quarantine", default=False),
        crypto_binding=flag(kind, "RequireCryptoBinding", path, "authentication.crypto_binding", default=False),
        anonymous_identity=anonymous,
    )


def _read_trust(reader: XMLReader, kind: Node, path: str, *, extensions: Node | None) -> ServerTrust:
    validation = reader.take(kind, "ServerValidation", path)
    names: tuple[str, ...] = ()
    roots: list[str] = []
    prompt = True
    if validation is not None:
        inside = f"{path}/ServerValidation"
        prompt = not reader.read_flag(
            validation, "DisableUserPromptForServerValidation", inside, "authentication.trust.prompt", default=False
        )
        text = validation.find("ServerNames")
        reader.note(validation, "authentication.trust", path)
        reader.note(text, "authentication.trust.names", inside)
        reader.note(validation.find("TrustedRootCA"), "authentication.trust.roots", inside)
        names = tuple(name.strip() for name in text.text.split(";") if name.strip()) if text else ()
        roots = _read_hashes(reader, validation.find_all("TrustedRootCA"), inside, "authentication.trust.roots")
        _keep_unknown(reader, validation, inside)
    validate, enforce = validation is not None, False
    if extensions is not None:
        more = path if extensions is kind else f"{path}/PeapExtensions"
        field = "authentication.trust"
        validate = reader.read_flag(extensions, "PerformServerValidation", more, field, default=validate)
        enforce = reader.read_flag(extensions, "AcceptServerName", more, field, default=False)
    return ServerTrust(names, tuple(roots), prompt, validate, enforce)


def _read_hashes(reader: XMLReader, nodes: Iterable[Node], path: str, field: str) -> list[str]:
    found = []
    for node in nodes:
        if not node.text:
            continue
        digits = read_hash(node.text)
        if digits is None:
            reader.report(
                Level.ERROR, "hash", field, node, path, f"{node.text[:80]!r} is no certificate hash",
                "a certificate's SHA-1 has 40 hexadecimal digits", "copy the thumbprint of the certificate again",
            )  # fmt: skip
            continue
        if strange := sorted(set(node.text.lower()) - set("0123456789abcdef \t\r\n")):
            reader.report(
                Level.ERROR, "hash-spelling", field, node, path,
                f"the hash holds {ascii(''.join(strange))[:60]}, which a copy from a dialogue leaves there unseen",
                "the schema takes digits and blanks only, and no certificate has this hash",
                f"write {format_hash(digits)}",
            )  # fmt: skip
        elif node.text.lower() not in (format_hash(digits), digits):
            reader.report(
                Level.ADVICE, "hash-spelling", field, node, path,
                "the hash is not written as pairs of digits with single blanks between",
                "Windows gives it back in its own form, and a comparison by text then never ends",
                f"write {format_hash(digits)}",
            )  # fmt: skip
        found.append(digits)
    return found
