"""No road round a policy that demands a short-lived certificate: one table of tries, each with the real eapol_test.

Every row says how somebody tries to get in, what an administrator did before, and the reason that is recorded. Each is
refused in one version of TLS, and once that is taken back the honest login gets in with the other one. What an access
authority's own state does to its certificates stands in test_rotation.py, device tunnels in tests/lab.
"""

import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from evertunnel import clock
from evertunnel.actions.issue_certificate import Wanted, issue_certificate
from evertunnel.model import Authority, CertificateKind, SubjectKind
from evertunnel.pki.keys import encode_public_key
from evertunnel.signer_socket import SignerClient
from evertunnel.storage import people
from evertunnel.storage.gateways import get_gateway
from evertunnel.storage.store import Store
from tests.interop.eap.conftest import ALICE, BOB, DEVICE, Live, make_wires
from tests.interop.eap.eapol import TLS_12, TLS_13, Supplicant
from tests.interop.server import wait_for
from tests.peers import radius
from tests.peers.certificates import HOUR, SERVER, Credential, build_authority, build_leaf, new_key
from tests.peers.eap_tls import Client, build_context
from tests.peers.gateway import Gateway

OTHER_DEVICE = "laptop-of-no-road.corp.example"
STRICT = "No road: a second factor"
MFA = {
    "displayName": STRICT,
    "state": "enabledForReportingButNotEnforced",
    "conditions": {
        "users": {"includeUsers": [ALICE]},
        "applications": {"includeApplications": ["VPN"]},
        "clientAppTypes": ["all"],
    },
    "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
}
BOB_COMPLIANT = MFA | {
    "displayName": "No road: Bob from a compliant device",
    "conditions": MFA["conditions"] | {"users": {"includeUsers": [BOB]}},  # type: ignore[operator]
    "grantControls": {"operator": "OR", "builtInControls": ["compliantDevice"]},
}
LIFE_SECONDS = 1
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["tls12", "tls13"])


class Scene:
    """A running installation, asked over its admin socket, and what somebody may try to get in with."""

    def __init__(self, live: Live, client: httpx2.Client, store: Store) -> None:
        self.live = live
        self._client = client
        self._store = store
        self.short = live.enrol()
        self.long = live.issue("--user", ALICE)
        self.bobs = live.issue("--user", BOB)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def issue(
        self, kind: CertificateKind = CertificateKind.SHORT_LIVED, *, device: str = DEVICE, **changes: Any
    ) -> Credential:
        """A certificate that no road of ours would give just so, signed by the real signer: it has all the rights."""
        key = new_key()
        with self._store.read() as connection:
            owners = {
                "user_id": people.get_subject(connection, SubjectKind.USER, ALICE).id,
                "device_id": people.get_subject(connection, SubjectKind.DEVICE, device).id,
                "gateway_id": get_gateway(connection, "gw1").id,
            }
        columns = ["gateway_id"] if kind is CertificateKind.AGENT else ["user_id", "device_id"]
        name = "gw1" if kind is CertificateKind.AGENT else ALICE
        owned = {column: owners[column] for column in columns}
        wanted = Wanted(kind, name, encode_public_key(key.public_key()), **owned, **changes)
        signer = SignerClient(self.live.state.signer_socket)
        issued = issue_certificate(self._store, signer, wanted, actor="test", now=clock.now())
        chain = tuple(map(x509.load_der_x509_certificate, issued.chain_der))
        return Credential(x509.load_der_x509_certificate(issued.certificate_der), key, chain)

    def report(self, *, compliant: bool = True, life_seconds: int | None = None) -> None:
        self.call("POST", f"/devices/{DEVICE}/reports", {"compliant": compliant, "life_seconds": life_seconds})


@dataclass(frozen=True)
class Road:
    """A try. `block` and `undo` are what an administrator does before and after; `pem` what is shown, by `identity`."""

    name: str
    reason: str
    pem: Callable[[Scene], bytes] = lambda scene: scene.short
    block: Callable[[Scene], Any] = lambda _scene: None
    undo: Callable[[Scene], Any] = lambda _scene: None
    identity: str = ALICE
    words: str = ""


def switch(name: str, state: str) -> Callable[[Scene], Any]:
    return lambda scene: scene.call("PATCH", f"/policies/access/{name}?confirmed=true", {"state": state})


def change(path: str, body: Any) -> Callable[[Scene], Any]:
    return lambda scene: scene.call("PATCH", path, body)


def call(method: str, path: str, body: Any = None) -> Callable[[Scene], Any]:
    return lambda scene: scene.call(method, path, body)


def expire(scene: Scene) -> bytes:
    credential = scene.issue(lifetime_seconds=1)
    # Valid to the end of its last second.
    while clock.now() < credential.certificate.not_valid_after_utc + timedelta(seconds=1):
        time.sleep(0.05)
    return credential.pem


def let_a_fact_run_out(scene: Scene) -> None:
    scene.report(life_seconds=LIFE_SECONDS)
    (device,) = (row for row in scene.call("GET", "/devices") if row["name"] == DEVICE)
    ends = max(fact["expires_at"] or "" for fact in device["facts"])
    while clock.now().isoformat() < ends:
        time.sleep(0.05)


def build_twin(scene: Scene) -> bytes:
    """Another installation's: its authority has name and key identifier of ours, its certificate name and serial."""
    own = scene.live.load_authority(Authority.ACCESS).certificate
    mine = x509.load_pem_x509_certificate(scene.short[scene.short.index(b"-----BEGIN CERTIFICATE") :])
    twin = build_authority("unused")
    identifier = own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = (
        x509.CertificateBuilder()
        .serial_number(own.serial_number)
        .subject_name(own.subject)
        .issuer_name(own.issuer)
        .public_key(twin.key.public_key())
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .sign(twin.key, hashes.SHA256())
    )
    leaf = build_leaf(Credential(authority, twin.key), ALICE, serial=mine.serial_number)
    return leaf.pem


def remove_device(scene: Scene) -> bytes:
    """Removed and added again under its name: it is another device."""
    for method, path, body in (
        ("POST", "/devices", {"name": OTHER_DEVICE}),
        ("PUT", f"/devices/{OTHER_DEVICE}/users/{ALICE}", None),
        ("POST", f"/devices/{OTHER_DEVICE}/reports", {"compliant": True}),
    ):
        scene.call(method, path, body)
    pem = scene.issue(device=OTHER_DEVICE).pem
    scene.call("DELETE", f"/devices/{OTHER_DEVICE}")
    scene.call("POST", "/devices", {"name": OTHER_DEVICE})
    scene.call("PUT", f"/devices/{OTHER_DEVICE}/users/{ALICE}")
    scene.call("POST", f"/devices/{OTHER_DEVICE}/reports", {"compliant": True})
    return pem


def forge(authority: Authority, name: str = ALICE, **changes: Any) -> Callable[[Scene], bytes]:
    """By a thief of an authority's key."""
    return lambda scene: build_leaf(scene.live.load_authority(authority), name, ends=HOUR, **changes).pem


def take_serial(scene: Scene) -> bytes:
    """The same, with the serial of a certificate that is good."""
    mine = x509.load_pem_x509_certificate(scene.short[scene.short.index(b"-----BEGIN CERTIFICATE") :])
    return forge(Authority.ACCESS, serial=mine.serial_number)(scene)


ROADS = (
    Road("a long-lived certificate", "certificate_usage_demanded", lambda scene: scene.long.pem),
    Road(
        "a long-lived one where conditional access demands a device",
        "device_not_compliant",
        lambda scene: scene.bobs.pem,
        switch(str(BOB_COMPLIANT["displayName"]), "on"),
        switch(str(BOB_COMPLIANT["displayName"]), "off"),
        BOB,
    ),
    Road(
        "a long-lived one with the short-lived usage, from a stolen key",
        "certificate_unknown",
        forge(Authority.ISSUING, usages=(*SERVER, x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2"),
                                         x509.ObjectIdentifier("1.3.6.1.4.1.311.87"))),
    ),
    Road("one that the access authority's stolen key signed", "certificate_unknown", forge(Authority.ACCESS)),
    Road("one with the serial of a good one", "certificate_unknown", take_serial),
    Road("one that the root's stolen key signed", "certificate_foreign", forge(Authority.ROOT)),
    Road("another installation's, all names the same", "certificate_foreign", build_twin),
    Road(
        "an agent's",
        "certificate_wrong_kind",
        lambda scene: scene.issue(CertificateKind.AGENT, authority=Authority.ISSUING).pem,
    ),
    Road("an expired one", "certificate_expired", expire),
    Road("of a device that is gone and came again", "certificate_revoked", remove_device),
    Road(
        "of a device that is denied",
        "device_denied",
        block=call("POST", "/denials", {"kind": "device", "name": DEVICE, "reason": "lost"}),
        undo=call("DELETE", f"/denials/device/{DEVICE}"),
    ),
    Road(
        "of a device that is not compliant any more",
        "device_not_compliant",
        block=lambda scene: scene.report(compliant=False),
        undo=lambda scene: scene.report(),
        words="said false",
    ),
    Road(
        "of a device of which nothing counts any more",
        "device_not_compliant",
        block=let_a_fact_run_out,
        undo=lambda scene: scene.report(),
        words="too old",
    ),
    Road(
        "of a device that is not the user's any more",
        "device_not_assigned",
        block=call("DELETE", f"/devices/{DEVICE}/users/{ALICE}"),
        undo=call("PUT", f"/devices/{DEVICE}/users/{ALICE}"),
    ),
    Road(
        "of a device that is disabled",
        "device_disabled",
        block=change(f"/devices/{DEVICE}", {"enabled": False}),
        undo=change(f"/devices/{DEVICE}", {"enabled": True}),
    ),
    Road(
        "of a user who is denied",
        "user_denied",
        block=call("POST", "/denials", {"kind": "user", "name": ALICE, "reason": "left"}),
        undo=call("DELETE", f"/denials/user/{ALICE}"),
    ),
    Road(
        "of a user who is disabled",
        "user_disabled",
        block=change(f"/users/{ALICE}", {"enabled": False}),
        undo=change(f"/users/{ALICE}", {"enabled": True}),
    ),
    Road(
        "of a user who lost the group",
        "no_network_policy",
        block=call("DELETE", f"/groups/Short-lived/members/user/{ALICE}"),
        undo=call("PUT", f"/groups/Short-lived/members/user/{ALICE}"),
    ),
    Road(
        "issued before a stricter policy was switched on",
        "mfa_required",
        block=switch(STRICT, "on"),
        undo=switch(STRICT, "report-only"),
    ),
    Road("of Alice, by Bob", "identity_mismatch", identity=BOB),
    Road("of Bob, by Alice", "identity_mismatch", lambda scene: scene.bobs.pem),
)  # fmt: skip


@pytest.fixture(scope="module")
def scene(live: Live) -> Iterator[Scene]:
    transport = httpx2.HTTPTransport(uds=str(live.state.admin_socket))
    store = Store(live.state.database_url)
    with httpx2.Client(transport=transport, base_url="http://admin/v1", timeout=30) as client:
        made = Scene(live, client, store)
        for policy in (MFA, BOB_COMPLIANT):
            made.call("POST", "/policies/access", policy)
        yield made
        for policy in (MFA, BOB_COMPLIANT):
            made.call("DELETE", f"/policies/access/{policy['displayName']}")
    store.close()


@pytest.mark.parametrize(
    ("road", "versions"),
    [(road, (TLS_12, TLS_13) if at % 2 else (TLS_13, TLS_12)) for at, road in enumerate(ROADS)],
    ids=[road.name.replace(" ", "-") for road in ROADS],
)
def test_no_road_round(scene: Scene, supplicant: Supplicant, road: Road, versions: tuple[str, str]) -> None:
    pem = road.pem(scene)
    road.block(scene)
    try:
        outcome = supplicant.log_in(pem, road.identity, version=versions[0])
    finally:
        road.undo(scene)
    assert (outcome.succeeded, outcome.keys_that_match) == (False, 0)
    (attempt,) = scene.call("GET", "/attempts?limit=1")
    assert (attempt["outcome"], attempt["reason"], attempt["session_id"]) == ("refused", road.reason, None)
    assert road.words in attempt["detail"]
    owner = BOB if road.identity == BOB and road.reason != "identity_mismatch" else ALICE
    control = scene.bobs.pem if owner == BOB else scene.short
    assert supplicant.log_in(control, owner, version=versions[1]).succeeded, "whoever does as demanded gets in"


@VERSIONS
def test_a_session_of_somebody_else_is_not_resumed(scene: Scene, live: Live, version: ssl.TLSVersion) -> None:
    """Who resumed would not show a certificate. Our own session may be: the honest one goes on with it."""
    context, session = make_session(live, version)
    with make_wires(live) as new_wire:
        client = new_client(context, session)
        assert Gateway(live.secret, new_wire().carry).log_in(client).code == radius.REJECT
        assert offers_session(client.hello), "else this shows nothing"
        assert client.tls.session_reused is not True
        assert read_last(scene)["reason"] == "certificate_missing"

        load_chain(context, live, scene.short)
        for resumed in (False, True):
            client = new_client(context, session)
            assert Gateway(live.secret, new_wire().carry).log_in(client).code == radius.ACCEPT
            assert offers_session(client.hello)
            assert client.tls.session_reused is resumed
            assert any("resumed a session" in each["text"] for each in read_last(scene)["steps"]) is resumed
            assert client.tls.session is not None
            session = client.tls.session


@VERSIONS
def test_our_own_session_gets_nobody_in_whose_certificate_does_not(
    scene: Scene, live: Live, version: ssl.TLSVersion
) -> None:
    """What a login would be refused for now is what the session is refused for, in the same words."""
    credential = scene.issue()
    context = build_context(live.root_file.read_bytes(), credential.pem, version=version, keylog=None)
    serial = f"{credential.certificate.serial_number:x}"
    (certificate_id,) = (row["id"] for row in scene.call("GET", "/certificates") if row["serial"].lower() == serial)
    with make_wires(live) as new_wire:

        def log_in(session: ssl.SSLSession | None) -> tuple[Client, int]:
            client = new_client(context, session)
            code = Gateway(live.secret, new_wire().carry).log_in(client).code
            assert offers_session(client.hello) is (session is not None)
            return client, code

        client, code = log_in(None)
        assert code == radius.ACCEPT
        session = client.tls.session
        scene.call("POST", "/denials", {"kind": "user", "name": ALICE, "reason": "left"})
        try:
            assert log_in(session)[1] == radius.REJECT
            assert read_last(scene)["reason"] == "user_denied"
        finally:
            scene.call("DELETE", f"/denials/user/{ALICE}")

        def go_on() -> Client | None:
            client, code = log_in(session)
            return client if code == radius.ACCEPT and client.tls.session_reused else None

        client = wait_for(go_on)  # each worker follows the database, fifty times a second
        scene.call("POST", f"/certificates/{certificate_id}/revocation", {"reason": "superseded"})
        for each in (session, client.tls.session):
            assert log_in(each)[1] == radius.REJECT
            assert read_last(scene)["reason"] == "certificate_revoked"


def read_last(scene: Scene) -> Any:
    return scene.call("GET", f"/attempts/{scene.call('GET', '/attempts?limit=1')[0]['id']}")


def new_client(context: ssl.SSLContext, session: ssl.SSLSession | None) -> Client:
    return Client(root_pem=b"", pem=None, identity=ALICE, server_name="localhost", context=context, resume=session)


def load_chain(context: ssl.SSLContext, live: Live, pem: bytes) -> None:
    file = live.files / "resuming.pem"
    file.write_bytes(pem)
    context.load_cert_chain(file)


def make_session(live: Live, version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLSession]:
    """A client's context that trusts our root, and a session it got from somebody else."""
    authority = build_authority("Elsewhere")
    theirs = live.files / "elsewhere.pem"
    theirs.write_bytes(build_leaf(authority, "localhost", usages=SERVER).pem)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(theirs)
    roots = live.root_file.read_text() + ssl.DER_cert_to_PEM_cert(authority.der)
    context = ssl.create_default_context(cadata=roots)
    context.minimum_version = context.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client.do_handshake, server.do_handshake]
    while waiting:
        for step in list(waiting):
            try:
                step()
                waiting.remove(step)
            except ssl.SSLWantReadError:
                pass
    server.write(b"hello")
    assert client.read(5) == b"hello"  # in TLS 1.3 the ticket comes before it
    assert client.session is not None and client.session.has_ticket
    return context, client.session


def offers_session(hello: bytes) -> bool:
    """Whether a record's ClientHello has a pre_shared_key (41), or a session_ticket (35) with something in it."""
    hello = hello[9:]
    at = 34
    at += 1 + hello[at]
    at += 2 + struct.unpack_from("!H", hello, at)[0]
    at += 1 + hello[at]
    end = at + 2 + struct.unpack_from("!H", hello, at)[0]
    at += 2
    while at < end:
        kind, length = struct.unpack_from("!HH", hello, at)
        if kind == 41 or (kind == 35 and length > 0):
            return True
        at += 4 + length
    return False
