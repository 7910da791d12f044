"""The clients of the `login` target: which of them may be let in, and what each of them has to prove it with."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from OpenSSL import SSL

from evertunnel import clock
from evertunnel.actions.change_user import change_user
from evertunnel.actions.deny import deny
from evertunnel.actions.revoke_certificate import revoke_certificate
from evertunnel.model import Authority, SubjectKind
from tests.fuzz.talks import AnyClient
from tests.peers import radius
from tests.peers.certificates import Credential, build_authority, build_leaf, build_stolen_pem
from tests.peers.eap_tls import TLS_12, TLS_13, Client, build_context
from tests.peers.installation import Installation
from tests.peers.peap import InnerMSCHAPv2, MSCHAPv2Client, PEAPClient
from tests.unit.servers.conftest import Scene
from tests.unit.servers.passwords import (
    ALICE,
    DAVE,
    PASSWORD,
    add_dave,
    allow_passwords,
    new_certificate_client,
    new_password_client,
)

ERIN, FRANK = "erin@corp.example", "frank@corp.example"
WRONG_PASSWORD = "a guess at dave's password"


@dataclass(frozen=True, slots=True)
class Kind:
    """One client: `new` begins its login anew, and `keylog` is where its TLS writes its keys, if to a file."""

    name: str
    honest: bool
    new: Callable[[], AnyClient]
    keylog: Path
    # Of octets in what it sends: the more rounds it needs.
    fragment_bytes: int = 1_000


@dataclass(frozen=True, slots=True)
class People:
    """Certificates of an installation: one that is good, one withdrawn, and two withdrawn only after a login."""

    alice: Credential
    revoked: Credential
    to_revoke: Credential
    erin: Credential


def add_people(installation: Installation) -> People:
    """Alice with her laptop, and erin, who is denied later."""
    installation.add_user()
    installation.add_device()
    installation.assign()
    installation.add_policy()
    installation.add_user(ERIN)
    people = People(*(installation.issue() for _ in range(3)), installation.issue(user=ERIN))
    _revoke(installation, people.revoked)
    return people


def list_kinds(scene: Scene, people: People, folder: Path) -> Sequence[Kind]:
    """All clients. Those that resume log in for their first time here; two lose what they had right after it."""
    allow_passwords(scene)
    add_dave(scene, FRANK)
    maker = _Maker(scene, folder)
    foreign = build_leaf(build_authority("Test Issuing"), ALICE)
    elsewhere = build_leaf(scene.installation.as_issuer(Authority.ISSUING), ALICE)
    kinds = [
        maker.certificate("alice", people.alice.pem, honest=True),
        maker.certificate("alice in TLS 1.2", people.alice.pem, honest=True, version=TLS_12),
        maker.certificate("alice in pieces", people.alice.pem, honest=True, fragment_bytes=150),
        maker.certificate("no certificate", None),
        maker.certificate("stolen certificate", build_stolen_pem(people.alice)),
        maker.certificate("foreign certificate", foreign.pem),
        maker.certificate("revoked certificate", people.revoked.pem),
        maker.tunnelled("certificate in PEAP", people.alice, honest=True),
        maker.tunnelled("certificate in PEAP in TLS 1.2", people.alice, honest=True, version=SSL.TLS1_2_VERSION),
        maker.tunnelled("foreign certificate in PEAP", foreign),
        maker.tunnelled("certificate nobody issued in PEAP", elsewhere),
        maker.tunnelled("revoked certificate in PEAP", people.revoked),
        maker.password("password in PEAP", honest=True),
        maker.password("password in PEAP in TLS 1.2", honest=True, version=SSL.TLS1_2_VERSION),
        maker.password("password in PEAP, not bound", binds=False),
        maker.password("wrong password in PEAP", WRONG_PASSWORD),
        maker.bare("password", DAVE, PASSWORD, honest=True),
        maker.bare("wrong password", DAVE, WRONG_PASSWORD),
        maker.bare("password of who was disabled", FRANK, PASSWORD),
        maker.resuming("resuming", people.alice, ALICE, honest=True),
        maker.resuming("resuming in TLS 1.2", people.alice, ALICE, honest=True, version=TLS_12),
        maker.resuming("resuming, revoked since", people.to_revoke, ALICE),
        maker.resuming("resuming, denied since", people.erin, ERIN, version=TLS_12),
    ]
    _revoke(scene.installation, people.to_revoke)
    store, now = scene.installation.store, clock.now()
    deny(store, SubjectKind.USER, ERIN, reason="left", actor="t", now=now)
    change_user(store, FRANK, enabled=False, seal=scene.seal, actor="t", now=now)
    scene.follow()
    return kinds


@dataclass(frozen=True, slots=True)
class _Maker:
    scene: Scene
    folder: Path

    def certificate(
        self,
        name: str,
        pem: bytes | None,
        *,
        honest: bool = False,
        version: ssl.TLSVersion = TLS_13,
        fragment_bytes: int = 1_000,
    ) -> Kind:
        root, keylog = self.scene.installation.root_pem, self.folder / f"keys of {name}"
        context = build_context(root, pem, version=version, keylog=keylog)

        def new() -> Client:
            return Client(root_pem=root, pem=None, context=context, fragment_bytes=fragment_bytes)

        return Kind(name, honest, new, keylog, fragment_bytes)

    def resuming(
        self,
        name: str,
        credential: Credential,
        identity: str,
        *,
        honest: bool = False,
        version: ssl.TLSVersion = TLS_13,
    ) -> Kind:
        root, keylog = self.scene.installation.root_pem, self.folder / f"keys of {name}"
        context = build_context(root, credential.pem, version=version, keylog=keylog)
        first = Client(root_pem=root, pem=None, context=context, identity=identity)
        assert self.scene.gateway.log_in(first).code == radius.ACCEPT, self.scene.gateway.lines
        session = first.tls.session

        def new() -> Client:
            # In one piece: a hello with a ticket is long.
            return Client(
                root_pem=root, pem=None, context=context, identity=identity, resume=session, fragment_bytes=4_000
            )

        return Kind(name, honest, new, keylog)

    def tunnelled(
        self, name: str, credential: Credential, *, honest: bool = False, version: int = SSL.TLS1_3_VERSION
    ) -> Kind:
        def new() -> PEAPClient:
            return new_certificate_client(self.scene, credential, version=version)

        return Kind(name, honest, new, self.folder / "none")

    def password(
        self,
        name: str,
        password: str = PASSWORD,
        *,
        honest: bool = False,
        version: int = SSL.TLS1_3_VERSION,
        binds: bool = True,
    ) -> Kind:
        def new() -> PEAPClient:
            client = new_password_client(self.scene, password, version=version, binds=binds, tries=(password,))
            assert isinstance(client.inner, InnerMSCHAPv2)
            client.inner.careless = not honest
            return client

        return Kind(name, honest, new, self.folder / "none")

    def bare(self, name: str, user: str, password: str, *, honest: bool = False) -> Kind:
        def new() -> MSCHAPv2Client:
            inner = InnerMSCHAPv2(user, password, tries=(password,), careless=not honest)
            return MSCHAPv2Client(inner, identity=user)

        return Kind(name, honest, new, self.folder / "none")


def _revoke(installation: Installation, credential: Credential) -> None:
    revoke_certificate(
        installation.store, installation.find_certificate_id(credential), reason="superseded", actor="t",
        now=clock.now(),
    )  # fmt: skip
