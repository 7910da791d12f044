"""An installation with ten thousand users and fifty policies of either kind, filled before it serves.

By the actions that commands and API call, in this process; users who never log in are written at once.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from bench import organisation
from bench.installation import Installation
from evertunnel import clock
from evertunnel.actions.add_device import add_device
from evertunnel.actions.add_gateway import GatewaySettings, add_gateway
from evertunnel.actions.add_group import add_group
from evertunnel.actions.add_user import add_user
from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.change_membership import join_group
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.import_facts import import_facts
from evertunnel.actions.import_policy_objects import import_policy_objects
from evertunnel.actions.issue_certificate import Wanted, issue_certificate
from evertunnel.actions.policy_files import PolicyFile
from evertunnel.actions.switch_mschapv2 import switch_mschapv2_on
from evertunnel.authority_keys import AuthorityKeys
from evertunnel.installation import Installation as Made
from evertunnel.model import AuthenticationMethod, CertificateKind, SubjectKind
from evertunnel.pki.keys import PrivateKey, encode_private_key, encode_public_key, generate_key
from evertunnel.signer import LocalSigner
from evertunnel.state_folder import StateFolder
from evertunnel.storage import people
from evertunnel.storage.policy_objects import ObjectKind
from evertunnel.storage.store import Store

PASSWORD = "bench-password-of-everybody"
P256, RSA = "p256", "rsa2048"
_SETTINGS = GatewaySettings("10.30.0.0/20", "10.31.0.0/20", ["10.20.0.10/32"], ["10.20.0.0/16"])
# Keys of authorities and servers as `init` makes them; it makes no RSA keys shorter than that.
_INIT_KEYS = {P256: "p256", RSA: "rsa3072"}


class LargeInstallation(Installation):
    """`keys` are those of the policy server and of the clients."""

    def __init__(self, folder: Path, *, first_port: int, keys: str = P256) -> None:
        super().__init__(folder, first_port=first_port)
        self.keys = keys

    def start(self) -> None:
        """Make it, fill it, serve it."""
        self.initialise("--key-type", _INIT_KEYS[self.keys])
        filling = _Filling(self)
        try:
            filling.fill()
        finally:
            filling.store.close()
        self.serve()

    def count_awake(self) -> int:
        """How many RADIUS workers take new logins now, as the log says."""
        lines = (self.folder / "serve.log").read_text(encoding="utf-8").splitlines()
        said = [line for line in lines if '"workers that take new logins"' in line]
        return int(json.loads(said[-1])["awake"]) if said else 1

    def write_client_files(self) -> None:
        """client.pem and client.key of the first client besides, for the handshake alone, and the authorities."""
        for row in self.json("certificate", "authorities"):
            (self.folder / f"{row['name']}.pem").write_text(row["pem"])
        first = self.find_client_file(1)
        (self.folder / "client.pem").write_text(first.read_text())
        (self.folder / "client.key").write_text(first.read_text())

    def find_client_file(self, number: int) -> Path:
        """Key, short-lived certificate and chain of a client."""
        return self.folder / f"client-{number}.pem"


class _Filling:
    """Everything below is an action, as the administrator, now."""

    def __init__(self, installation: LargeInstallation) -> None:
        self._installation = installation
        self._made = Made(StateFolder(installation.state))
        self.store: Store = self._made.open_store()
        keys = AuthorityKeys(self._made.keystore)
        self._signer = LocalSigner(self.store, keys, self._made.addresses, clock.now)

    def fill(self) -> None:
        """People, gateways, policies, facts, certificates."""
        self._add_people()
        for name, address in organisation.GATEWAYS.items():
            # Nobody listens on the control socket: these gateways only ask.
            self._do(
                add_gateway, name, public_name="localhost", radius_address=address,
                vici_socket=str(self._installation.folder / "nobody.vici"), settings=_SETTINGS, seal=self._seal,
            )  # fmt: skip
        locations = [PolicyFile("", document) for document in organisation.build_locations()]
        self._do(import_policy_objects, ObjectKind.LOCATION, locations)
        for name, document in organisation.build_network_policies().items():
            self._do(add_network_policy, name, document)
        self._do(import_access_policies, organisation.build_access_policies())
        self._do(import_facts, organisation.build_facts().encode(), source="mdm")
        for number in range(1, organisation.CLIENTS + 1):
            self._issue_client(number)
        if self._installation.keys == RSA:
            self._replace_server_key(self._make_key())

    def _add_people(self) -> None:
        self._do(switch_mschapv2_on, weakness_accepted=True)
        for group in organisation.list_groups():
            self._do(add_group, group)
        for number in range(organisation.DEPARTMENTS):
            self._do(add_group, organisation.name_department(number))
            self._do(join_group, organisation.STAFF, SubjectKind.GROUP, organisation.name_department(number))
        clients = range(1, organisation.CLIENTS + 1)
        by_password = range(organisation.CLIENTS + 1, 2 * organisation.CLIENTS + 1)
        for number in (*clients, *by_password):
            user = organisation.name_user(number)
            self._do(add_user, user, password=PASSWORD, seal=self._seal)
            self._do(join_group, organisation.name_department(number), SubjectKind.USER, user)
        self._add_others(range(by_password.stop, organisation.USERS + 1))
        for number in by_password:
            self._do(join_group, organisation.WITH_PASSWORDS, SubjectKind.USER, organisation.name_user(number))
        for number in clients:
            self._do(add_device, organisation.name_device(number))
            self._do(assign_device, organisation.name_device(number), organisation.name_user(number))

    def _add_others(self, numbers: Sequence[int]) -> None:
        """One by one it would take half a minute."""
        with self.store.write(clock.now()) as tx:
            departments = {
                name: people.get_subject(tx.connection, SubjectKind.GROUP, name).id
                for name in map(organisation.name_department, range(organisation.DEPARTMENTS))
            }
            for number in numbers:
                name = organisation.name_user(number)
                user_id = people.insert_subject(
                    tx, SubjectKind.USER, name, display_name=name, password_hash=None, enabled=True
                )
                people.add_member(tx, departments[organisation.name_department(number)], SubjectKind.USER, user_id)

    def _issue_client(self, number: int) -> None:
        """A short-lived certificate as the enrolment server gives it after a sign-in; that knows P-256 keys only."""
        key = self._make_key()
        with self.store.read() as connection:
            user = people.get_subject(connection, SubjectKind.USER, organisation.name_user(number))
            device = people.get_subject(connection, SubjectKind.DEVICE, organisation.name_device(number))
        wanted = Wanted(
            CertificateKind.SHORT_LIVED, user.name, encode_public_key(key.public_key()), user_id=user.id,
            device_id=device.id, methods=(AuthenticationMethod.PASSWORD.value,), signed_in_at=clock.now(),
        )  # fmt: skip
        issued = issue_certificate(self.store, self._signer, wanted, actor="bench", now=clock.now())
        chain = [x509.load_der_x509_certificate(der) for der in (issued.certificate_der, *issued.chain_der)]
        pem = encode_private_key(key) + b"".join(each.public_bytes(Encoding.PEM) for each in chain)
        self._installation.find_client_file(number).write_bytes(pem)

    def _replace_server_key(self, key: PrivateKey) -> None:
        """As `evertunnel certificate renew policy-server --new-key` does it, with a key that it does not make."""
        name = self._made.config.installation.public_name
        wanted = Wanted(CertificateKind.POLICY_SERVER, name, encode_public_key(key.public_key()), dns_names=(name,))
        issue_certificate(self.store, self._signer, wanted, actor="bench", now=clock.now())
        self._made.keystore.replace_key("radius", "policy-server", key)

    def _make_key(self) -> PrivateKey:
        if self._installation.keys == RSA:
            return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        return generate_key(P256)

    def _seal(self, secret: bytes, context: str) -> bytes:
        return self._made.keystore.seal(secret, context=context)

    def _do(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        action(self.store, *arguments, actor="bench", now=clock.now(), **options)
