"""The gateway process: one LocalGateway for each gateway on this machine, with its key, certificate and fragment."""

import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.actions.issue_certificate import Signer, Wanted, issue_certificate
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.local_gateway import LocalGateway
from evertunnel.gateways.strongswan import GatewayModel, build_conf_fragment
from evertunnel.keystore import Keystore
from evertunnel.model import Authority, CertificateKind, Gateway
from evertunnel.pki.keys import PrivateKey, encode_private_key, encode_public_key, generate_key
from evertunnel.storage import authorities, certificates, gateways
from evertunnel.storage.gateways import gate_path_context, radius_secret_context
from evertunnel.storage.store import Store, Watch
from evertunnel.storage.tables import AnyRow

_POLL_SECONDS = 0.1
_LOOK_EVERY_SECONDS = 5.0
# Each gateway is loaded anew once a day, so this is soon enough to try more than once.
_RENEW_BEFORE = timedelta(days=30)

log = structlog.get_logger()


class GatewayProcess:
    """Follows the list of gateways."""

    def __init__(
        self,
        store: Store,
        signer: Signer,
        keystore: Keystore,
        *,
        folder: Path,
        gate_url: str,
        radius_address: str,
        radius_port: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._signer = signer
        self._keystore = keystore
        self._folder = folder
        self._gate_url = gate_url
        self._radius_address = radius_address
        self._radius_port = radius_port
        self._clock = clock
        self._running: dict[str, LocalGateway] = {}

    def run(self, stopped: threading.Event) -> None:
        """Until stopped."""
        watch = Watch(self._store)
        look_at = 0.0
        while not stopped.is_set():
            try:
                if watch.changed() or time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK_EVERY_SECONDS
                    self._start_new()
            except UnavailableError as error:
                log.warning("cannot look for gateways", error=str(error))
            stopped.wait(_POLL_SECONDS)
        for gateway in self._running.values():
            gateway.stop()
        watch.close()

    def _start_new(self) -> None:
        with self._store.read() as connection:
            rows = gateways.list_gateways(connection)
        for row in rows:
            if row.id in self._running or not row.enabled:
                continue
            self._write_fragment(row)
            gateway = Gateway(row.id, row.name, row.radius_address, row.enabled)
            self._running[row.id] = LocalGateway(
                self._store,
                gateway,
                row.vici_socket,
                load_model=lambda gateway_id=row.id: self._load_model(gateway_id),  # type: ignore[misc]
                clock=self._clock,
            )
            self._running[row.id].start()

    def _load_model(self, gateway_id: str) -> tuple[GatewayModel, str]:
        """What strongSwan must be told now, and the private key of its certificate."""
        with self._store.read() as connection:
            row = gateways.get_gateway(connection, gateway_id)
            known = authorities.load_authorities(connection)
        key = self._load_key(row.name)
        certificate = self._find_certificate(row, key)
        gate_path = self._keystore.unseal(row.gate_path_sealed, context=gate_path_context(row.id)).decode()
        model = GatewayModel(
            name=row.name,
            public_name=row.public_name,
            certificate_pem=_encode_pem(certificate),
            chain_pem=[_encode_pem(known[Authority.ISSUING])],
            device_authority_pem=_encode_pem(known[Authority.DEVICE]),
            gate_url=f"{self._gate_url}/{gate_path}",
            other_authorities=tuple(
                authority.subject.rfc4514_string()  # one CN without special characters: charon writes it the same
                for name, authority in known.items()
                if name is not Authority.DEVICE
            ),
            settings=row.settings,
        )
        return model, encode_private_key(key).decode()

    def _load_key(self, name: str) -> PrivateKey:
        try:
            return self._keystore.load_key("gateway", name)
        except UnavailableError:
            key = generate_key("p256")
            try:
                self._keystore.store_key("gateway", name, key)
            except InvalidInputError as error:
                raise UnavailableError(str(error)) from error
            return key

    def _find_certificate(self, row: AnyRow, key: PrivateKey) -> x509.Certificate:
        public_key_der = encode_public_key(key.public_key())
        with self._store.read() as connection:
            found = certificates.find_valid_for_key(connection, public_key_der)
        if (
            found is not None
            and found.subject_name == row.public_name
            and found.not_after - self._clock() > _RENEW_BEFORE
        ):
            return x509.load_der_x509_certificate(found.certificate_der)
        issued = issue_certificate(
            self._store,
            self._signer,
            Wanted(
                kind=CertificateKind.GATEWAY,
                name=row.public_name,
                dns_names=(row.public_name,),
                public_key_der=public_key_der,
                gateway_id=row.id,
            ),
            actor=f"gateway {row.name}",
            now=self._clock(),
        )
        return x509.load_der_x509_certificate(issued.certificate_der)

    def _write_fragment(self, row: AnyRow) -> None:
        """strongswan.conf for the gateway, replaced in one step; it holds the RADIUS secret."""
        secret = self._keystore.unseal(row.radius_secret_sealed, context=radius_secret_context(row.id)).decode()
        text = build_conf_fragment(
            radius_address=self._radius_address,
            radius_port=self._radius_port,
            radius_secret=secret,
            nas_identifier=row.name,
        )
        folder = self._folder / row.name
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            temporary = folder / "strongswan.conf.new"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(folder / "strongswan.conf")
        except OSError as error:
            raise UnavailableError(f"cannot write {error.filename}: {error.strerror}") from error


def _encode_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
