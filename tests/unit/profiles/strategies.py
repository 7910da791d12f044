"""Profiles of every kind, as hypothesis makes them: all that a client can be told, and names that try to be more."""

from ipaddress import IPv4Network, IPv6Network
from typing import Any

from hypothesis import strategies as st

from evertunnel.model import TunnelKind
from evertunnel.profiles.model import (
    EAPTLS,
    PEAP,
    CertificateSelection,
    CryptographySuite,
    DataEncryption,
    EntraCompliance,
    MachineCertificate,
    MSCHAPv2,
    NameRule,
    PlainMSCHAPv2,
    PortRange,
    Profile,
    Protocol,
    Proxy,
    Route,
    Routing,
    Server,
    ServerTrust,
    SingleSignOn,
    TrafficFilter,
    Usage,
)  # fmt: skip

# A regular expression would say it shorter, and take twice as long to draw.
LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=10).map(
    lambda text: text.strip("-") or "a"
)
DOMAIN = st.lists(LABEL, min_size=2, max_size=4).map(".".join)
HASH = st.binary(min_size=20, max_size=20).map(bytes.hex)
OID = st.lists(st.integers(1, 99_999), min_size=2, max_size=6).map(lambda parts: "1.3." + ".".join(map(str, parts)))
# What tries to leave its place: markup, quotes, script, another line's key.
HOSTILE = [
    "</Name><Evil/>", "a & b", "'; Remove-Item C:\\ #", '"quoted"', "$(whoami)", "`n", "%PATH%", "]]>", "<!--", "@'",
    "'@", "}  secrets {", "[HKEY_LOCAL_MACHINE]", "=1", "# comment", "Übung", "名前", "\u202etxt",
]  # fmt: skip
TEXT = (
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp")), max_size=20) | st.sampled_from(HOSTILE)
).map(str.strip)
NAME = TEXT.filter(lambda text: bool(text) and "/" not in text and "\\" not in text)
FLAG = st.booleans()
MAYBE = st.none() | FLAG


def tuples(items: st.SearchStrategy[Any], *, least: int = 0, most: int = 3) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, min_size=least, max_size=most, unique=True).map(tuple)


V4 = st.builds(lambda a, n: IPv4Network((a, n), strict=False), st.integers(0, 2**32 - 1), st.integers(1, 32))
V6 = st.builds(lambda a, n: IPv6Network((a, n), strict=False), st.integers(0, 2**128 - 1), st.integers(3, 128))
NETWORK = V4 | V6
ADDRESS = st.ip_addresses().filter(lambda a: not getattr(a, "scope_id", None)).map(str)
BLOCK = V4.filter(lambda network: network.prefixlen < 32).map(lambda network: f"{network[0]}-{network[-1]}")
RANGE = V4.map(str) | st.ip_addresses(v=4).map(str) | BLOCK
PORTS = st.tuples(st.integers(0, 65_535), st.integers(0, 65_535)).map(lambda pair: PortRange(min(pair), max(pair)))
# Names of usages map to one OID each.
USAGES = st.dictionaries(NAME.map(str.lower), OID, max_size=2).map(
    lambda pairs: tuple(Usage(*pair) for pair in pairs.items())
)

TRUST = st.builds(ServerTrust, tuples(DOMAIN), tuples(HASH), FLAG, FLAG, FLAG)
SELECTION = st.builds(
    CertificateSelection, issuers=tuples(HASH), usages=USAGES, all_purpose=FLAG,
    smart_card=st.just(False), without_asking=FLAG,
) | st.builds(CertificateSelection, issuers=tuples(HASH), usages=USAGES, smart_card=st.just(True))  # fmt: skip
TLS = st.builds(EAPTLS, TRUST, SELECTION, FLAG)
MSCHAP = st.builds(MSCHAPv2, FLAG)
PEAPS = st.builds(PEAP, TLS | MSCHAP, TRUST, FLAG, FLAG, FLAG, FLAG, st.none() | NAME)
MACHINE = st.builds(MachineCertificate, tuples(OID), st.just(""))
AUTHENTICATION = TLS | PEAPS | MSCHAP | st.just(PlainMSCHAPv2()) | MACHINE
SUITE = st.builds(
    CryptographySuite,
    authentication_transform=st.sampled_from(["SHA256128", "GCMAES128", "GCMAES256"]),
    cipher_transform=st.sampled_from(["AES128", "AES256", "GCMAES128", "GCMAES256"]),
    pfs_group=st.sampled_from(["None", "PFS2048", "ECP256", "ECP384"]),
    dh_group=st.sampled_from(["Group14", "ECP256", "ECP384"]),
    integrity_check=st.sampled_from(["SHA256", "SHA384"]),
    encryption=st.sampled_from(["AES128", "AES256", "AES_GCM_128", "AES_GCM_256"]),
)
RULE = st.builds(
    NameRule,
    DOMAIN.map(lambda text: "." + text) | DOMAIN | st.just("."),
    tuples(ADDRESS),
    st.just("") | ADDRESS.filter(lambda a: ":" not in a),
    FLAG,
    FLAG,
)
FILTER = st.builds(
    TrafficFilter, name=TEXT, app=st.just("") | TEXT, claims=st.just(""), protocol=st.none() | st.integers(0, 255),
    local_ports=tuples(PORTS), remote_ports=tuples(PORTS), local_addresses=tuples(RANGE),
    remote_addresses=tuples(RANGE), routing=st.none() | st.sampled_from(Routing), inbound=FLAG,
)  # fmt: skip
PROXY = st.builds(
    Proxy, st.just("") | DOMAIN.map(lambda name: f"http://{name}/proxy.pac"), DOMAIN.map(lambda name: name + ":8080"),
    tuples(DOMAIN), FLAG,
)  # fmt: skip
SERVERS = tuples(st.builds(Server, DOMAIN, st.just("") | NAME.filter(lambda text: not set(text) & set(",;"))), least=1)
PROTOCOLS = st.just((Protocol.AUTOMATIC,)) | tuples(
    st.sampled_from([item for item in Protocol if item is not Protocol.AUTOMATIC]), least=1, most=4
)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Any profile that can be carried to some client."""
    protocols = draw(PROTOCOLS)
    return Profile(
        name=draw(NAME),
        tunnel=draw(st.sampled_from(TunnelKind)),
        servers=draw(SERVERS),
        authentication=draw(AUTHENTICATION),
        protocols=protocols,
        protocol_retry_hours=draw(st.integers(0, 500_000)) if len(protocols) > 1 and draw(FLAG) else None,
        l2tp_preshared_key=draw(st.just("") | NAME),
        entra=draw(
            st.none() | st.builds(EntraCompliance, st.none() | st.builds(SingleSignOn, tuples(OID), tuples(HASH)))
        ),
        routing=draw(st.sampled_from(Routing)),
        class_based_route=draw(FLAG),
        selectors_as_routes=draw(MAYBE),
        routes=draw(tuples(st.builds(Route, NETWORK, FLAG, st.sampled_from([0, 1, 5, 70])))),
        dns_suffixes=draw(tuples(DOMAIN)),
        name_rules=draw(tuples(RULE)),
        trusted_networks=draw(tuples(DOMAIN)),
        proxy=draw(st.none() | PROXY),
        app_triggers=draw(tuples(TEXT.filter(bool))),
        traffic_filters=draw(tuples(FILTER, most=2)),
        cryptography=draw(st.none() | SUITE),
        always_on=draw(FLAG),
        always_on_active=draw(MAYBE),
        lock_down=draw(FLAG),
        register_dns=draw(FLAG),
        network_outage_seconds=draw(st.none() | st.integers(0, 2**32 - 1)),
        ipv4_metric=draw(st.none() | st.integers(1, 9999)),
        ipv6_metric=draw(st.none() | st.integers(1, 9999)),
        hide_disconnect_button=draw(FLAG),
        hide_edit_button=draw(FLAG),
        remember_credentials=draw(FLAG),
        bypass_for_local=draw(MAYBE),
        use_ras_credentials=draw(MAYBE),
        data_encryption=draw(st.none() | st.sampled_from(DataEncryption)),
        private_network=draw(MAYBE),
        disable_ikev2_fragmentation=draw(MAYBE),
        enterprise_id=draw(st.just("") | NAME),
    )
