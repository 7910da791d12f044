"""What an agent keeps on its host, each file mode 0600: its keys, its certificates, and what it was told last."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.files import write_file
from evertunnel.pki.keys import (
    PublicKey,
    decode_private_key,
    encode_private_key,
    encode_public_key,
    generate_key,
    signing_hash,
)
from evertunnel.pki.names import build_subject
from evertunnel.protocols.agent.messages import Configuration, Enrolled

DEFAULT = Path("/var/lib/evertunnel-agent")
_FILES = ("agent.key", "gateway.key", "agent.pem", "issuer.pem", "root.pem", "gate.path", "agent.json")


@dataclass(frozen=True, slots=True)
class Identity:
    """An enrolled agent: whose it is, where its server is, and how both prove who they are. PEM texts."""

    gateway: str
    address: str
    port: int
    root_pem: str
    agent_key_pem: str
    agent_chain_pem: tuple[str, str]
    gateway_key_pem: str
    gate_path: str


class AgentFolder:
    """One agent's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def fragment(self) -> Path:
        """Its part of strongswan.conf, in a folder that strongSwan may enter."""
        return self.path / "strongswan" / "strongswan.conf"

    def create(self) -> None:
        """Make the folders. Raises UnavailableError."""
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            self.fragment.parent.mkdir(mode=0o750, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"cannot make {self.path}: {error.strerror}") from error

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """For the one process that runs or enrols: another would remove what this one writes.

        Raises InvalidInputError when somebody has it, UnavailableError.
        """
        try:
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError(f"{self.path}/lock cannot be opened: {error.strerror}") from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InvalidInputError(
                    f"an agent runs with {self.path}: stop it first (`systemctl stop evertunnel-agent`)"
                ) from None
            yield
        finally:
            os.close(lock)

    def store_identity(
        self, enrolled: Enrolled, keys_pem: tuple[str, str], root_pem: str, *, address: str, port: int
    ) -> None:
        """Keep what an enrolment made, in the place of one before. Raises UnavailableError.

        What says that there is an identity is written last.
        """
        agent_key_pem, gateway_key_pem = keys_pem
        self.forget_gateway()
        write_file(self.path / "agent.key", agent_key_pem)
        write_file(self.path / "gateway.key", gateway_key_pem)
        write_file(self.path / "root.pem", root_pem)
        write_file(self.path / "issuer.pem", enrolled.issuer_pem)
        write_file(self.path / "agent.pem", enrolled.agent_certificate_pem)
        write_file(self.path / "gate.path", secrets.token_urlsafe(24))
        about = {"gateway": enrolled.gateway, "address": address, "port": port}
        write_file(self.path / "agent.json", json.dumps(about))

    def verify_enrolled(self) -> None:
        """Raises InvalidInputError before it was."""
        if not (self.path / "agent.json").exists():
            raise InvalidInputError(
                f"no agent was enrolled in {self.path}: `evertunnel gateway agent enrol` takes a code that "
                "`evertunnel gateway code NAME` makes on the server"
            )

    def load_identity(self) -> Identity:
        """Raises InvalidInputError before it was enrolled, UnavailableError when a file cannot be read."""
        self.verify_enrolled()
        texts = {name: self._read(name) for name in _FILES}
        try:
            about: dict[str, Any] = json.loads(texts["agent.json"])
            return Identity(
                gateway=str(about["gateway"]),
                address=str(about["address"]),
                port=int(about["port"]),
                root_pem=texts["root.pem"],
                agent_key_pem=texts["agent.key"],
                agent_chain_pem=(texts["agent.pem"], texts["issuer.pem"]),
                gateway_key_pem=texts["gateway.key"],
                gate_path=texts["gate.path"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"{self.path}/agent.json is damaged: {error}") from error

    def store_configuration(self, configuration: Configuration) -> None:
        """Keep what the server said last, for when it is away. Raises UnavailableError."""
        write_file(self.path / "configuration.json", configuration.model_dump_json())

    def load_configuration(self) -> Configuration | None:
        """What the server said last; None when it never did, or when that cannot be read any more."""
        try:
            return Configuration.model_validate_json(self._read("configuration.json"))
        except (UnavailableError, ValidationError):
            return None

    def store_agent_certificate(self, certificate_pem: str) -> None:
        """A renewed one, for the same key. Raises UnavailableError."""
        if (self.path / "agent.pem").read_text(encoding="ascii") != certificate_pem:
            write_file(self.path / "agent.pem", certificate_pem)

    def store_deadlines(self, deadlines: dict[str, tuple[int, float]]) -> None:
        """Ends of tunnels, by their indexes: number and moment. Raises UnavailableError."""
        write_file(self.path / "deadlines.json", json.dumps(deadlines))

    def load_deadlines(self) -> dict[str, tuple[int, float]]:
        """The same; none when they cannot be read."""
        try:
            found = json.loads(self._read("deadlines.json"))
            return {str(spis): (int(number), float(moment)) for spis, (number, moment) in found.items()}
        except (UnavailableError, ValueError, TypeError, AttributeError):
            return {}

    def forget_gateway(self) -> None:
        """Remove what the server said of the gateway; the keys stay until another enrolment."""
        for path in (*map(self.path.joinpath, ("configuration.json", "deadlines.json", "agent.json")), self.fragment):
            path.unlink(missing_ok=True)

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UnavailableError(f"{self.path / name} cannot be read: {error}") from error


def make_key_and_request(name: str) -> tuple[str, bytes]:
    """A key in PEM and a request it signed. The server takes the public key from it and no name."""
    key = generate_key("p256")
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(build_subject(name))
        .sign(key, signing_hash(key))
        .public_bytes(Encoding.DER)
    )
    return encode_private_key(key).decode(), request


def is_for_key(certificate_pem: str, key_pem: str) -> bool:
    """Whether a certificate is for a key of ours. One that cannot be read is not."""
    try:
        theirs = x509.load_pem_x509_certificate(certificate_pem.encode()).public_key()
        ours = decode_private_key(key_pem.encode()).public_key()
    except (ValueError, InvalidInputError):
        return False
    return isinstance(theirs, PublicKey) and encode_public_key(theirs) == encode_public_key(ours)
