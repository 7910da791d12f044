"""An installation without processes: a real database, real authorities and keys, below one folder."""

import copy
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import select

from evertunnel import clock
from evertunnel.actions.add_device import add_device
from evertunnel.actions.add_gateway import GatewaySettings, add_gateway
from evertunnel.actions.add_user import add_user
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.create_installation import NewInstallation, create_installation
from evertunnel.actions.issue_certificate import Wanted, issue_certificate
from evertunnel.authority_maker import AuthorityMaker
from evertunnel.keystore import Keystore
from evertunnel.model import Authority, CertificateKind, SubjectKind
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.pki.keys import encode_public_key, generate_key
from evertunnel.signer import LocalSigner
from evertunnel.storage import attempts, authorities, certificates, people, tables
from evertunnel.storage.gateways import get_gateway, list_gateways, radius_secret_context
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.store import Store
from evertunnel.storage.tables import AnyRow
from evertunnel.web.api.attempt_descriptions import describe_whole
from tests.installation import Keys
from tests.peers.certificates import Credential, PrivateKey, new_key

PUBLIC_NAME = "vpn.example.test"
ADDRESSES = PublicAddresses(f"http://{PUBLIC_NAME}")
ACTOR = "test"


class Installation:
    """Begins empty: no user, no gateway, no policy, so nobody may connect."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.keystore = Keystore(folder)
        self.keystore.create(owners={}, group=os.getegid())
        self.database = folder / "evertunnel.db"
        self.store = Store(f"sqlite:///{self.database}")
        self.authority_keys = Keys({authority.value: generate_key() for authority in Authority})
        self.server_key = generate_key()
        self.signer = LocalSigner(self.store, self.authority_keys, ADDRESSES, clock.now)
        self.maker = AuthorityMaker(self.store, self.authority_keys, ADDRESSES, clock.now)
        upgrade_schema(self.store)
        wanted = NewInstallation("Test", PUBLIC_NAME, ADDRESSES, self.authority_keys, {"radius": self.server_key})
        granted = create_installation(
            self.store, wanted, new_serial=x509.random_serial_number, actor=ACTOR, now=clock.now()
        )
        self.server_certificate = x509.load_der_x509_certificate(self.signer.sign(granted["radius"]))

        with self.store.read() as connection:
            self.authorities = authorities.load_authorities(connection)

    def close(self) -> None:
        self.store.close()

    def copy(self, folder: Path) -> "Installation":
        """The same with a database of its own; a tenth of the work of a new one."""
        folder.mkdir()
        twin = copy.copy(self)
        twin.database = folder / "evertunnel.db"
        with closing(sqlite3.connect(self.database)) as source, closing(sqlite3.connect(twin.database)) as target:
            source.backup(target)
        twin.store = Store(f"sqlite:///{twin.database}")
        twin.authority_keys = Keys(self.authority_keys)
        twin.signer = LocalSigner(twin.store, twin.authority_keys, ADDRESSES, clock.now)
        twin.maker = AuthorityMaker(twin.store, twin.authority_keys, ADDRESSES, clock.now)
        return twin

    @property
    def root_pem(self) -> bytes:
        return self.authorities[Authority.ROOT].public_bytes(Encoding.PEM)

    def as_issuer(self, authority: Authority) -> Credential:
        """An authority of ours with its key: for certificates that we never issued."""
        return Credential(self.authorities[authority], self.authority_keys[authority])

    def add_user(self, name: str = "alice@corp.example") -> str:
        return add_user(self.store, name, actor=ACTOR, now=clock.now())

    def add_device(self, name: str = "laptop1.corp.example") -> str:
        return add_device(self.store, name, actor=ACTOR, now=clock.now())

    def assign(self, device: str = "laptop1.corp.example", user: str = "alice@corp.example") -> None:
        assign_device(self.store, device, user, actor=ACTOR, now=clock.now())

    def add_gateway(self, name: str = "gw1", address: str = "127.0.0.1") -> bytes:
        """Returns the RADIUS secret."""
        gateway_id = add_gateway(
            self.store,
            name,
            public_name=PUBLIC_NAME,
            radius_address=address,
            vici_socket="/nowhere",
            settings=GatewaySettings("10.30.0.0/20", "10.31.0.0/20", ["10.20.0.10/32"], ["10.20.0.0/16"]),
            seal=lambda secret, context: self.keystore.seal(secret, context=context),
            actor=ACTOR,
            now=clock.now(),
        )
        with self.store.read() as connection:
            sealed = get_gateway(connection, gateway_id).radius_secret_sealed
        return self.keystore.unseal(sealed, context=radius_secret_context(gateway_id))

    def add_policy(
        self, name: str = "Everybody", permission: str = "grant", *, position: int | None = None, **document: Any
    ) -> None:
        document = {"permission": permission, **document}
        add_network_policy(self.store, name, document, position=position, actor=ACTOR, now=clock.now())

    def issue(
        self,
        kind: CertificateKind = CertificateKind.USER,
        *,
        user: str = "alice@corp.example",
        device: str = "laptop1.corp.example",
        key: PrivateKey | None = None,
        **changes: Any,
    ) -> Credential:
        """A certificate as we issue it, with its chain below the root; a device certificate has none."""
        key = key or new_key()
        with self.store.read() as connection:
            owners: Mapping[str, AnyRow | None] = {
                "user_id": people.find_subject(connection, SubjectKind.USER, user),
                "device_id": people.find_subject(connection, SubjectKind.DEVICE, device),
            }
        columns = {
            CertificateKind.USER: ("user_id",),
            CertificateKind.DEVICE: ("device_id",),
            CertificateKind.SHORT_LIVED: ("user_id", "device_id"),
        }.get(kind, ())
        ids = {column: row.id for column in columns if (row := owners[column]) is not None}
        name = user if kind in (CertificateKind.USER, CertificateKind.SHORT_LIVED) else device
        if kind is CertificateKind.GATEWAY:
            with self.store.read() as connection:
                gateway = list_gateways(connection)[0]
            name, ids = gateway.public_name, {"gateway_id": gateway.id}
        wanted = Wanted(
            kind=kind,
            name=name,
            dns_names=() if "@" in name else (name,),
            public_key_der=encode_public_key(key.public_key()),
            **ids,
            **changes,
        )
        issued = issue_certificate(self.store, self.signer, wanted, actor=ACTOR, now=clock.now())
        chain = tuple(x509.load_der_x509_certificate(der) for der in issued.chain_der)
        return Credential(x509.load_der_x509_certificate(issued.certificate_der), key, chain)

    def renew_server_certificate(self) -> x509.Certificate:
        """Another certificate for the policy server's key."""
        public_key_der = encode_public_key(self.server_key.public_key())
        wanted = Wanted(CertificateKind.POLICY_SERVER, PUBLIC_NAME, public_key_der, dns_names=(PUBLIC_NAME,))
        issued = issue_certificate(self.store, self.signer, wanted, actor=ACTOR, now=clock.now())
        return x509.load_der_x509_certificate(issued.certificate_der)

    def find_certificate_id(self, credential: Credential) -> str:
        with self.store.read() as connection:
            return str(certificates.get_certificate(connection, f"{credential.certificate.serial_number:x}").id)

    def list_attempts(self) -> list[AnyRow]:
        """In the order of their commits."""
        with self.store.read() as connection:
            return sorted(attempts.list_attempts(connection, limit=100_000), key=lambda row: row.batch)

    def describe_attempts(self) -> list[dict[str, Any]]:
        """The same as the API shows each of them."""
        rows = self.list_attempts()
        with self.store.read() as connection:
            return [describe_whole(connection, row) for row in rows]

    def list_sessions(self) -> list[AnyRow]:
        with self.store.read() as connection:
            return list(connection.execute(select(tables.sessions).order_by(tables.sessions.c.created_at)))
