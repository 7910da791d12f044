"""The agents process on loopback, with real TLS, and callers of every kind."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from evertunnel.actions.add_gateway import add_gateway
from evertunnel.actions.make_enrolment_code import make_enrolment_code
from evertunnel.gateways.agent.enrolling import dial, enrol, read_code
from evertunnel.gateways.agent.folder import AgentFolder, Identity
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.agent_directory import AgentDirectory
from evertunnel.gateways.agent_tls import build_agent_context
from evertunnel.gateways.agents_process import AgentsProcess
from evertunnel.keystore import Keystore
from evertunnel.lab.lab import wait_for
from evertunnel.protocols.agent.messages import VERSION, Begin, FromServer, Refused, Welcome
from tests.installation import ADMIN, SETTINGS, Installation

NAME = "gw2"


class Agents:
    """One process and one gateway on another host."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.installation = installation
        (folder / "keys" / "agents").mkdir(parents=True, exist_ok=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        keystore: Keystore = installation.keystore
        self.directory = AgentDirectory(
            installation.store, installation.signer, keystore,
            gate=("127.0.0.1", 1), radius_port=1812, accounting_port=1813, clock=installation.clock,
        )  # fmt: skip
        self.process = AgentsProcess(installation.store, self.directory, self.listener, installation.clock)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.process.run, args=(self.stopped,), daemon=True)
        self.folder = AgentFolder(folder / "agent")
        self.folder.create()
        installation.do(
            add_gateway, NAME, public_name="vpn2.example.test", radius_address="192.0.2.2", vici_socket="",
            settings=SETTINGS, server_address="192.0.2.1",
            seal=lambda secret, context: keystore.seal(secret, context=context),
        )  # fmt: skip

    def start(self) -> None:
        self.thread.start()
        wait_for("its certificate", lambda: bool(self.directory.root_pem))

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join(10)
        self.listener.close()

    def make_code(self) -> str:
        """One that leads here and not to the address of the gateway's row."""
        from dataclasses import replace

        from evertunnel.protocols.agent.code import decode_code, encode_code

        made = make_enrolment_code(
            self.installation.store, NAME, port=self.port, actor=ADMIN, now=self.installation.now
        )
        return encode_code(replace(decode_code(made), address="127.0.0.1"))

    def enrol(self) -> Identity:
        enrol(self.folder, read_code(self.make_code()))
        return self.folder.load_identity()

    @contextlib.contextmanager
    def connect(self, identity: Identity) -> Iterator[tuple[Channel[FromServer], Welcome | Refused]]:
        """As an enrolled agent would; what the server said to it."""
        context = self.build_context(identity)
        with dial("127.0.0.1", self.port, context) as (channel, hello):
            channel.trust()
            channel.send(Begin(version=VERSION, time=hello.time))
            said = channel.receive(10)
            assert isinstance(said, Welcome | Refused)
            yield channel, said

    @staticmethod
    def build_context(identity: Identity) -> ssl.SSLContext:
        return build_agent_context(
            root_pem=identity.root_pem, chain_pem=identity.agent_chain_pem, key_pem=identity.agent_key_pem
        )
