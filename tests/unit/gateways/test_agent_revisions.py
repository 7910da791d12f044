"""Server and agent of different ages, over real TLS: the newer one says nothing that the older one hangs up over."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from evertunnel import clock
from evertunnel.gateways.agent.agent import Agent
from evertunnel.gateways.agent.enrolling import dial
from evertunnel.gateways.agent_channel import Channel
from evertunnel.gateways.tls_pipe import PipeClosedError, TLSPipe
from evertunnel.protocols.agent.messages import (
    VERSION,
    Begin,
    Event,
    Events,
    Hello,
    Welcome,
    decode_from_agent,
)
from tests.installation import Installation
from tests.ports import find_port
from tests.unit.gateways.agents import NAME, Agents

TUNNEL = {"uniqueid": "1", "initiator-spi": "a", "responder-spi": "b", "remote-host": "192.0.2.9"}


@pytest.fixture
def agents(installation: Installation, tmp_path: Path) -> Iterator[Agents]:
    made = Agents(installation, tmp_path)
    made.start()
    yield made
    made.stop()


class Server:
    """One connection's other end, with nobody behind it. `old`: as from before the revision."""

    def __init__(self, agents: Agents, *, old: bool) -> None:
        self._agents = agents
        self._context = agents.directory.build_context()
        if old:
            forget_alpn(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        about = agents.folder.path / "agent.json"
        where = {"address": "127.0.0.1", "port": self._listener.getsockname()[1]}
        about.write_text(json.dumps(json.loads(about.read_text()) | where))
        self.said: SimpleQueue[Event | None] = SimpleQueue()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        connection, _address = self._listener.accept()
        pipe = TLSPipe(connection, self._context, server_side=True)
        try:
            pipe.shake_hands(10)
            channel = Channel(pipe, decode_from_agent)
            root_pem = self._agents.directory.root_pem
            channel.send(Hello(version=VERSION, root_pem=root_pem, time=self._agents.installation.now))
            assert isinstance(channel.receive(10), Begin)
            channel.trust()
            channel.send(Welcome(gateway=NAME))
            while True:
                message = channel.receive(10)
                if isinstance(message, Events):
                    for each in [None] if message.away else message.events:
                        self.said.put(each)
        except PipeClosedError:
            pass
        finally:
            pipe.dispose()
            self._listener.close()


def forget_alpn(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols([])


@pytest.mark.parametrize("old", [True, False])
def test_a_server_from_before_is_not_told_of_clients_that_move(agents: Agents, old: bool) -> None:
    agents.enrol()
    server = Server(agents, old=old)
    agent = Agent(agents.folder, vici_socket="/nowhere", gate_port=find_port(), clock=clock.now)
    stopped = threading.Event()
    thread = threading.Thread(target=agent.run, args=(stopped,), daemon=True)
    thread.start()
    try:
        assert server.said.get(timeout=20) is None, "strongSwan is away, which is the first that is said"
        agent._tell("ike-update", {"remote-host": "192.0.2.10", "evertunnel-user": TUNNEL})
        agent._tell("ike-updown", {"up": "no", "evertunnel-user": TUNNEL})
        names = []
        while "ike-updown" not in names:
            event = server.said.get(timeout=20)
            assert event is not None
            names.append(event.name)
        assert names == (["ike-updown"] if old else ["ike-update", "ike-updown"])
    finally:
        stopped.set()
        thread.join(20)


@pytest.mark.parametrize("old", [True, False])
def test_an_agent_from_before_is_welcome(agents: Agents, old: bool) -> None:
    context = agents.build_context(agents.enrol())
    if old:
        forget_alpn(context)
    with dial("127.0.0.1", agents.port, context) as (channel, hello):
        channel.trust()
        channel.send(Begin(version=VERSION, time=hello.time))
        assert channel.receive(10) == Welcome(gateway=NAME)
        assert channel.is_revised is not old
