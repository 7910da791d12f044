"""A policy server in this process, with everything behind it real: database, recorder, certificates."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from OpenSSL import SSL

from evertunnel import clock
from evertunnel.actions.decide import Decider
from evertunnel.model import Authority, CertificateStatus
from evertunnel.protocols.eap.contexts import EAPContexts, build_contexts
from evertunnel.servers.eap_methods import EAPMethods
from evertunnel.servers.logins import Elsewhere, Reply, Verdict
from evertunnel.servers.policy_server import PolicyServer
from evertunnel.servers.recorder import Recorder
from evertunnel.servers.ticket_keys import TicketKeys
from evertunnel.servers.tls_side import Chain, TLSSide
from evertunnel.servers.workers import ALONE, Place
from evertunnel.storage.gateways import radius_secret_context
from tests.installation import Installation as OwnInstallation
from tests.peers.certificates import Credential
from tests.peers.eap_tls import Client
from tests.peers.gateway import Gateway
from tests.peers.installation import Installation
from tests.unit.servers.accounting import Accounts

SOURCE = ("127.0.0.1", 40_000)


class Scene:
    """A policy server on an installation. `uptime` moves only when a test moves it."""

    def __init__(self, installation: Installation, secret: bytes, alice: Credential, place: Place = ALONE) -> None:
        self.installation = installation
        self.secret = secret
        self.alice = alice
        self.uptime = 1_000.0
        self.decider = Decider()
        self.server = self._build_server(place)
        self.recorder = Recorder(
            installation.store,
            self.decider,
            on_gateways_changed=self.server.load_gateways,
            on_authorities_changed=self.tls.use_authorities,
        )
        self.gateway = self.new_gateway()

    def receive(self, data: bytes, source: tuple[str, int] = SOURCE) -> Reply | Verdict | Elsewhere | None:
        """What the server makes of a datagram, before anything is recorded."""
        return self.server.receive(data, source, now=clock.now(), uptime=self.uptime)

    def receive_verdict(self, data: bytes) -> Verdict:
        """The same for a datagram that ends a login."""
        verdict = self.receive(data)
        assert isinstance(verdict, Verdict)
        return verdict

    def commit(self, *verdicts: Verdict) -> list[bytes]:
        """Record what ended; the bytes that may leave then."""
        return [reply.data for reply in self.recorder.commit(verdicts, clock.now())]

    def carry(self, data: bytes, source: tuple[str, int] = SOURCE) -> bytes | None:
        """A datagram to the server and its reply back, recorded if it has to be."""
        outcome = self.receive(data, source)
        if isinstance(outcome, Verdict):
            replies = self.recorder.commit([outcome], clock.now())
            outcome = replies[0] if replies else None
        assert not isinstance(outcome, Elsewhere)
        assert outcome is None or outcome.destination == source
        return outcome.data if outcome is not None else None

    def expire(self) -> None:
        """Record what was left open too long."""
        self.commit(*self.server.expire(self.uptime))

    def follow(self) -> None:
        """Take what an action changed into the state that decisions are made from, as the process does by itself."""
        assert self.recorder.follow()

    def new_gateway(self, **options: Any) -> Gateway:
        return Gateway(self.secret, self.carry, **options)

    def new_client(self, credential: Credential | None = None, **options: Any) -> Client:
        """A client with alice's certificate unless told otherwise."""
        pem = options.pop("pem", (credential or self.alice).pem)
        return Client(root_pem=self.installation.root_pem, pem=pem, **options)

    def build_tls(self, certificate: x509.Certificate) -> EAPContexts:
        """The TLS side of a policy server that shows this certificate."""
        return self._build_tls([certificate, self.installation.authorities[Authority.ISSUING]])

    def _build_tls(
        self, chain: Chain, tickets: SSL.Context | None = None, before: EAPContexts | None = None
    ) -> EAPContexts:
        known = self.installation.authorities
        return build_contexts(
            chain=chain,
            key=self.installation.server_key,
            trusted=[known[Authority.ISSUING], *self.decider.list_access_authorities()],
            is_revoked=self._is_withdrawn,
            tickets=tickets,
            before=before,
        )

    def _build_server(self, place: Place) -> PolicyServer:
        with self.installation.store.read() as connection:
            self.decider.refresh(connection)
        chain = [self.installation.server_certificate, self.installation.authorities[Authority.ISSUING]]
        self.tls = TLSSide(chain, self._build_tls, TicketKeys(periods=2))
        server = PolicyServer(
            self.decider,
            EAPMethods(
                self.decider, self.tls.contexts, self.installation.keystore.unseal, self.installation.keystore.seal
            ),
            lambda gateway, sealed: self.installation.keystore.unseal(
                sealed, context=radius_secret_context(gateway.id)
            ),
            place,
        )
        server.load_gateways()
        self.tls.serve(server.use_tls)
        return server

    def seal(self, secret: bytes, context: str) -> bytes:
        return self.installation.keystore.seal(secret, context=context)

    def _is_withdrawn(self, der: bytes) -> bool:
        known = self.decider.find_certificate_by_fingerprint(hashlib.sha256(der).digest())
        return known is not None and known.status is not CertificateStatus.VALID


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Installation, bytes, Credential]:
    """An installation where alice may connect through gw1, the gateway's secret, and alice's certificate."""
    installation = Installation(tmp_path_factory.mktemp("original"))
    secret = installation.add_gateway()
    installation.add_user()
    installation.add_device()
    installation.assign()
    installation.add_policy()
    alice = installation.issue()
    installation.close()
    return installation, secret, alice


@pytest.fixture
def scene(original: tuple[Installation, bytes, Credential], tmp_path: Path) -> Iterator[Scene]:
    installation, secret, alice = original
    copy = installation.copy(tmp_path / "copy")
    yield Scene(copy, secret, alice)
    copy.close()


@pytest.fixture
def accounts(either_installation: OwnInstallation) -> Accounts:
    return Accounts(either_installation)
