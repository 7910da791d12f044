"""Which agents there are, what they may be told, and how they come to be: what the agents process reads and writes."""

import hashlib
import http.client
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography import x509
from pydantic import ValidationError

from evertunnel.actions.enrol_agent import enrol_agent
from evertunnel.actions.issue_certificate import Signer, Wanted
from evertunnel.actions.issue_gateway_certificate import find_or_issue, renew_for_agent
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.agent_tls import build_server_context
from evertunnel.gateways.description import describe_gateway, encode_pem
from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.keystore import Keystore
from evertunnel.model import Authority, CertificateKind, CertificateStatus, Gateway
from evertunnel.pki.keys import PrivateKey, encode_private_key, encode_public_key, generate_key
from evertunnel.pki.kinds import AGENT_SERVER_NAME
from evertunnel.protocols.agent.messages import Configuration, Enrol, Enrolled, Settings
from evertunnel.storage import authorities, certificates, gateways
from evertunnel.storage.gateways import gate_path_context, radius_secret_context, read_gateway
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow

PROCESS = "agents"
_KEY = "agent-server"
_GATE_SECONDS = 2.0
_ANSWER_BYTES = 8192


class UnknownAgentError(Exception):
    """A caller that is no agent of ours, or none any more (`gone`)."""

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


class AgentDirectory:
    """Safe between threads."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        keystore: Keystore,
        *,
        gate: tuple[str, int],
        radius_port: int,
        accounting_port: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._signer = signer
        self._keystore = keystore
        self._gate = gate
        self._radius_port = radius_port
        self._accounting_port = accounting_port
        self._clock = clock
        self.root_pem = ""

    def build_context(self) -> ssl.SSLContext:
        """TLS of the listener, with a certificate that is renewed in time. Raises DomainError."""
        key = self._load_key()
        wanted = Wanted(
            CertificateKind.AGENT_SERVER,
            AGENT_SERVER_NAME,
            encode_public_key(key.public_key()),
            (AGENT_SERVER_NAME,),
        )
        certificate = find_or_issue(self._store, self._signer, wanted, actor=PROCESS, clock=self._clock)
        with self._store.read() as connection:
            known = authorities.load_authorities(connection)
        root, issuing = encode_pem(known[Authority.ROOT]), encode_pem(known[Authority.ISSUING])
        self.root_pem = root
        return build_server_context(
            chain_pem=[encode_pem(certificate), issuing],
            key_pem=encode_private_key(key).decode(),
            trusted_pem=[root, issuing],
        )

    def _load_key(self) -> PrivateKey:
        if not self._keystore.has_key(PROCESS, _KEY):
            self._keystore.store_key(PROCESS, _KEY, generate_key("p256"))
        return self._keystore.load_key(PROCESS, _KEY)

    def enrol(self, wish: Enrol, source: str) -> Enrolled:
        """Raises DomainError, whose text may be told."""
        requests = wish.agent_request_der, wish.gateway_request_der
        made = enrol_agent(self._store, self._signer, wish.secret, requests, source=source, now=self._clock())
        with self._store.read() as connection:
            issuing = authorities.load_authorities(connection)[Authority.ISSUING]
        return Enrolled(
            gateway=made.gateway_name,
            agent_certificate_pem=_encode_der(made.agent.certificate_der),
            gateway_certificate_pem=_encode_der(made.gateway.certificate_der),
            issuer_pem=encode_pem(issuing),
        )

    def identify(self, certificate_der: bytes | None) -> tuple[AnyRow, str]:
        """The gateway whose agent shows a certificate that TLS verified, and the certificate's id.

        Raises UnknownAgentError, UnavailableError.
        """
        if certificate_der is None:
            raise UnknownAgentError("an agent shows its certificate")
        with self._store.read() as connection:
            row = certificates.find_by_fingerprint(connection, hashlib.sha256(certificate_der).digest())
            if row is None:
                raise UnknownAgentError("this certificate is not in our records: was an older database restored?")
            if row.kind != CertificateKind.AGENT.value:
                raise UnknownAgentError(f"a {row.kind} certificate is not an agent's")
            gateway = None if row.gateway_id is None else gateways.find_gateway(connection, row.gateway_id)
        if why := _find_objection(row, gateway):
            raise UnknownAgentError(why, gone=True)
        assert gateway is not None
        return gateway, row.id

    def find_objection(self, gateway_id: str, certificate_id: str) -> str:
        """Why an agent that was let in must go, in words; empty when it may stay."""
        with self._store.read() as connection:
            row = certificates.find_certificate(connection, certificate_id)
            gateway = gateways.find_gateway(connection, gateway_id)
        return "its certificate is not in our records" if row is None else _find_objection(row, gateway)

    def describe(self, gateway_id: str, certificate_id: str) -> tuple[GatewayModel, Configuration]:
        """What a gateway is to be, for its keeper and for the agent with that certificate. Raises DomainError."""
        if why := self.find_objection(gateway_id, certificate_id):
            raise UnavailableError(why)
        with self._store.read() as connection:
            row = gateways.get_gateway(connection, gateway_id)
            known = authorities.load_authorities(connection)
        own, agent = (
            renew_for_agent(self._store, self._signer, row, kind, clock=self._clock)
            for kind in (CertificateKind.GATEWAY, CertificateKind.AGENT)
        )
        try:
            return self._describe(row, known, own, agent)
        except ValidationError as error:
            where = ", ".join(".".join(map(str, each["loc"])) for each in error.errors(include_input=False))
            raise InvalidInputError(f"gateway {row.name} cannot be described to its agent: see its {where}") from None

    def _describe(
        self,
        row: AnyRow,
        known: Mapping[Authority, x509.Certificate],
        own: x509.Certificate,
        agent: x509.Certificate,
    ) -> tuple[GatewayModel, Configuration]:
        model = describe_gateway(row, known, own, gate_url="")  # the agent has its own way to the gate
        secret = self._keystore.unseal(row.radius_secret_sealed, context=radius_secret_context(row.id)).decode()
        return model, Configuration(
            name=row.name,
            public_name=row.public_name,
            certificate_pem=model.certificate_pem,
            chain_pem=list(model.chain_pem),
            device_authority_pem=model.device_authority_pem,
            agent_certificate_pem=encode_pem(agent),
            settings=Settings(**row.settings),
            radius_address=row.server_address,
            radius_port=self._radius_port,
            accounting_port=self._accounting_port,
            radius_secret=secret,
        )

    def build_gateway(self, row: AnyRow) -> Gateway:
        """The noun."""
        return read_gateway(row)

    def ask_gate(self, gateway_id: str, request_der: bytes) -> bytes | None:
        """The gate's answer for this gateway and no other; None when there is none that could be passed on."""
        try:
            with self._store.read() as connection:
                row = gateways.find_gateway(connection, gateway_id)
            if row is None:
                return None
            path = self._keystore.unseal(row.gate_path_sealed, context=gate_path_context(row.id)).decode()
            return self._post(path, request_der)
        except UnavailableError:
            return None

    def _post(self, path: str, request_der: bytes) -> bytes | None:
        connection = http.client.HTTPConnection(*self._gate, timeout=_GATE_SECONDS)
        try:
            connection.request("POST", f"/{path}", request_der, {"Content-Type": "application/ocsp-request"})
            answer = connection.getresponse()
            body = answer.read(_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if answer.status == 200 and len(body) <= _ANSWER_BYTES else None


def _find_objection(certificate: AnyRow, gateway: AnyRow | None) -> str:
    if gateway is None:
        return "the gateway was removed"
    if not gateway.remote or certificate.gateway_id != gateway.id:
        return "the gateway has no such agent"
    if certificate.status == CertificateStatus.VALID.value:
        return ""
    if certificate.revocation_reason == "cessation of operation":
        return "another agent was enrolled for the gateway"
    return "the agent's certificate was revoked"


def _encode_der(certificate_der: bytes) -> str:
    return encode_pem(x509.load_der_x509_certificate(certificate_der))
