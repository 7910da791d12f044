"""An installation in one process: real database, real authorities, our own signer, and a clock that tests move."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from evertunnel.actions.add_device import add_device
from evertunnel.actions.add_gateway import GatewaySettings, add_gateway
from evertunnel.actions.add_group import add_group
from evertunnel.actions.add_user import add_user
from evertunnel.actions.create_installation import NewInstallation, create_installation
from evertunnel.actions.decide import Decider
from evertunnel.actions.issue_certificate import Issued, Wanted, issue_certificate
from evertunnel.authority_maker import AuthorityMaker
from evertunnel.keystore import Keystore
from evertunnel.model import Authority, Certificate, CertificateKind, Decision, TunnelKind
from evertunnel.pki.issuance import PublicAddresses
from evertunnel.pki.keys import PrivateKey, encode_public_key, generate_key
from evertunnel.pki.kinds import KINDS
from evertunnel.signer import LocalSigner
from evertunnel.storage.gateways import find_gateway
from evertunnel.storage.schema import upgrade_schema
from evertunnel.storage.store import Store

ADDRESSES = PublicAddresses("http://vpn.example.test")
BEGINNING = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ADMIN = "ann"
ALICE = "alice@corp.example"
LAPTOP = "laptop1.corp.example"
SETTINGS = GatewaySettings("10.30.0.0/20", "10.31.0.0/20", ["10.20.0.10/32"], ["10.20.0.0/16"])


@dataclass
class Clock:
    """Time that passes only when a test says so."""

    moment: datetime = BEGINNING

    def __call__(self) -> datetime:
        return self.moment

    def forward(self, **time: float) -> datetime:
        """Let time pass; returns the new moment."""
        self.moment += timedelta(**time)
        return self.moment


class Keys(dict[str, PrivateKey]):
    """The signer's keys without files."""

    def keep(self, name: str, key: PrivateKey) -> None:
        """As AuthorityKeys has it."""
        self[name] = key


@dataclass
class Installation:
    """Everything a test needs, with short ways to add people and to decide."""

    store: Store
    signer: LocalSigner
    keys: Mapping[Authority, PrivateKey]
    keystore: Keystore
    clock: Clock
    maker: AuthorityMaker
    decider: Decider = field(default_factory=Decider)

    @property
    def now(self) -> datetime:
        """The present moment."""
        return self.clock()

    def do(self, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call an action as the administrator, now."""
        return action(self.store, *arguments, actor=ADMIN, now=self.now, **options)

    def add_user(self, name: str = ALICE, *, password: str | None = None) -> str:
        """Returns the id."""
        user_id: str = self.do(add_user, name, password=password)
        return user_id

    def add_device(self, name: str = LAPTOP) -> str:
        """Returns the id."""
        device_id: str = self.do(add_device, name)
        return device_id

    def add_group(self, name: str) -> str:
        """Returns the id."""
        group_id: str = self.do(add_group, name)
        return group_id

    def seal_sign_in(self, secret: bytes, context: str) -> bytes:
        """Seal what sign-ins are checked with."""
        return self.keystore.for_sign_in().seal(secret, context=context)

    def unseal_sign_in(self, sealed: bytes, context: str) -> bytes:
        """Open it."""
        return self.keystore.for_sign_in().unseal(sealed, context=context)

    def add_gateway(self, name: str = "gw1", address: str = "127.0.0.1") -> str:
        """Returns the id."""
        gateway_id: str = self.do(
            add_gateway,
            name,
            public_name="vpn.example.test",
            radius_address=address,
            vici_socket="/run/charon.vici",
            settings=SETTINGS,
            seal=lambda secret, context: self.keystore.seal(secret, context=context),
        )
        return gateway_id

    def find_or_add_gateway(self) -> str:
        """The id of gw1, whose public name is vpn.example.test."""
        with self.store.read() as connection:
            found = find_gateway(connection, "gw1")
        return self.add_gateway() if found is None else str(found.id)

    def choose_name(self, kind: CertificateKind) -> dict[str, str]:
        """A name that certificates of a kind may carry, and the gateway it must belong to."""
        if kind is CertificateKind.GATEWAY:
            return {"name": "vpn.example.test", "gateway_id": self.find_or_add_gateway()}
        if kind is CertificateKind.RADSEC_SERVER:
            self.issue(CertificateKind.POLICY_SERVER, "radius.example.test", dns_names=("radius.example.test",))
            return {"name": "radius.example.test"}
        return {"name": KINDS[kind].only_name or ALICE}

    def issue(self, kind: CertificateKind, name: str, *, key: PrivateKey | None = None, **owner: Any) -> Issued:
        """A certificate for a fresh key, or the one given."""
        public_key_der = encode_public_key((key or generate_key()).public_key())
        owner.setdefault("dns_names", (name,) if kind is CertificateKind.DEVICE else ())
        wanted = Wanted(kind=kind, name=name, public_key_der=public_key_der, **owner)
        issued: Issued = issue_certificate(self.store, self.signer, wanted, actor=ADMIN, now=self.now)
        return issued

    def issue_user(self, user_id: str, *, device_id: str | None = None, name: str = ALICE) -> str:
        """A user's certificate; returns its id."""
        return self.issue(CertificateKind.USER, name, user_id=user_id, device_id=device_id).id

    def issue_device(self, device_id: str, *, name: str = LAPTOP) -> str:
        """A device's certificate; returns its id."""
        return self.issue(CertificateKind.DEVICE, name, device_id=device_id).id

    def refresh(self) -> None:
        """Let the decider follow the database."""
        with self.store.read() as connection:
            self.decider.refresh(connection)

    def find_certificate(self, certificate_id: str) -> Certificate:
        """What the decider knows of a certificate now."""
        self.refresh()
        found = self.decider.find_certificate_by_id(certificate_id)
        assert found is not None
        return found

    def decide(self, certificate_id: str, tunnel: TunnelKind = TunnelKind.USER, **facts: Any) -> Decision:
        """What would be decided now for a tunnel with a certificate."""
        certificate = self.find_certificate(certificate_id)
        gathered = self.decider.gather_facts(at=self.now, tunnel=tunnel, certificate=certificate, **facts)
        return self.decider.decide_tunnel(gathered)


def open_installation(url: str, folder: Path, keys: Mapping[Authority, PrivateKey]) -> Installation:
    """The installation of a database, with its secrets in a folder."""
    store, clock = Store(url), Clock()
    keystore = Keystore(folder)
    if not (folder / "keys").exists():
        keystore.create(owners={}, group=os.getgid())
    held = Keys({str(name): key for name, key in keys.items()})
    maker = AuthorityMaker(store, held, ADDRESSES, clock)
    return Installation(store, LocalSigner(store, held, ADDRESSES, clock), held, keystore, clock, maker)


def create(url: str) -> Mapping[Authority, PrivateKey]:
    """Make a database with authorities and return their keys."""
    keys = {authority: generate_key() for authority in Authority}
    store = Store(url)
    upgrade_schema(store)
    server_keys = {"radius": generate_key(), "web-public": generate_key()}
    wanted = NewInstallation("Example", "vpn.example.test", ADDRESSES, keys, server_keys)
    create_installation(store, wanted, new_serial=x509.random_serial_number, actor=ADMIN, now=BEGINNING)
    store.close()
    return keys


def copy_installation(template: Path, path: Path, keys: Mapping[Authority, PrivateKey]) -> Installation:
    """An installation of its own on SQLite, as fresh as the template."""
    shutil.copyfile(template, path)
    return open_installation(f"sqlite:///{path}", path.parent, keys)
