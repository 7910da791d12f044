"""Keeps this host's strongSwan as the server described it last, whether the server is there or not."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime

import structlog

from evertunnel.errors import DomainError, InvalidInputError, UnavailableError
from evertunnel.gateways.agent.deadlines import Deadlines
from evertunnel.gateways.agent.folder import AgentFolder, Identity, is_for_key
from evertunnel.gateways.files import FRAGMENT_MODE, write_file
from evertunnel.gateways.leaving import end_everything
from evertunnel.gateways.loading import Loader
from evertunnel.gateways.strongswan import GatewayModel, build_conf_fragment
from evertunnel.gateways.termination import terminate_tunnel
from evertunnel.gateways.tunnels import read_tunnel
from evertunnel.protocols.agent.messages import Configuration
from evertunnel.vici_connection import ViciConnection

_POLL_SECONDS = 0.2
_LOOK_EVERY_SECONDS = 5.0
_RETRY_SECONDS = 0.5

log = structlog.get_logger()


class Upkeep:
    """One thread, which alone loads. Others hand it what the server said, and say that strongSwan is new."""

    def __init__(
        self,
        folder: AgentFolder,
        identity: Identity,
        *,
        vici_socket: str,
        gate_url: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._vici = ViciConnection(vici_socket)
        self._gate_url = gate_url
        self._loader = Loader(self._vici, self._build_model)
        self._configuration = folder.load_configuration()
        self.deadlines = Deadlines(folder, clock)
        self._wishes: queue.Queue[tuple[Configuration, Future[None]]] = queue.Queue(4)
        self._load_due = threading.Event()
        self._reload_due = False
        self._said = ""

    def begin(self) -> None:
        """What strongSwan reads when it starts must be there before the server is. Raises UnavailableError."""
        if self._configuration is not None:
            self._write_fragment(self._configuration)

    def wish(self, configuration: Configuration, within_seconds: float) -> None:
        """Be as the server says. Raises DomainError: it is not so, and why."""
        done: Future[None] = Future()
        try:
            self._wishes.put_nowait((configuration, done))
            done.result(within_seconds)
        except (queue.Full, TimeoutError) as error:
            raise UnavailableError("strongSwan is too slow to be loaded") from error

    def note_fresh(self) -> None:
        """strongSwan was started anew."""
        self._load_due.set()

    def run(self, stopped: threading.Event) -> None:
        """For a thread of its own."""
        look_at = 0.0
        while not stopped.is_set():
            try:
                self._take_wish()
                if self._load_due.is_set() and self._configuration is not None:
                    self._load_due.clear()
                    self._load()
                if ended := self.deadlines.end_due(self._vici):
                    log.info("tunnels ended at their time", tunnels=ended)
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK_EVERY_SECONDS
                    self._look()
                self._said = ""
            except DomainError as error:
                if str(error) != self._said:
                    log.warning("strongSwan cannot be looked after", error=str(error))
                self._said = str(error)
                look_at = time.monotonic() + _RETRY_SECONDS
                stopped.wait(_RETRY_SECONDS)
            except Exception as error:  # nobody would start this thread again
                log.error("looking after strongSwan failed", exc_info=error)
                stopped.wait(_RETRY_SECONDS)

    def leave(self, stopped: threading.Event) -> None:
        """End every tunnel, and forget the gateway. Tries until strongSwan did so: it must not go on unasked."""
        self._configuration = None
        connection = ViciConnection(self._vici.path)
        while not stopped.is_set():
            try:
                end_everything(connection, self._folder.fragment)
                self._folder.forget_gateway()
                return
            except UnavailableError as error:
                log.warning("strongSwan cannot be told to end its tunnels", error=str(error))
                stopped.wait(_RETRY_SECONDS)

    def _take_wish(self) -> None:
        try:
            configuration, done = self._wishes.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return
        try:
            self._become(configuration)
        except Exception as error:
            done.set_exception(error if isinstance(error, DomainError) else UnavailableError(repr(error)))
        else:
            done.set_result(None)

    def _become(self, configuration: Configuration) -> None:
        if configuration.name != self._identity.gateway:
            raise InvalidInputError(f"this is {self._identity.gateway} and not {configuration.name}")
        if not is_for_key(configuration.certificate_pem, self._identity.gateway_key_pem):
            raise InvalidInputError("the gateway's certificate is for another key than the one here")
        if not is_for_key(configuration.agent_certificate_pem, self._identity.agent_key_pem):
            raise InvalidInputError("the agent's certificate is for another key than the one here")
        # Kept first: whatever fails after this is tried again, also after a restart.
        self._folder.store_configuration(configuration)
        self._folder.store_agent_certificate(configuration.agent_certificate_pem)
        self._configuration = configuration
        self._write_fragment(configuration)
        self._load()

    def _load(self) -> None:
        try:
            if self._reload_due:
                self._vici.reload_settings()
                self._reload_due = False
            self._loader.load()
        except DomainError:
            self._load_due.set()
            raise
        self._load_due.clear()
        log.info("gateway loaded", gateway=self._identity.gateway)

    def _look(self) -> None:
        if self._configuration is None:
            return
        if lost := self._loader.list_lost():
            log.warning("strongSwan lost what it was told", lost=lost)
            self._load_due.set()
        listed = [read_tunnel(section["name"], section) for section in self._vici.list_tunnels()]
        for tunnel in listed:
            if tunnel.kind is not None and tunnel.leaving:
                terminate_tunnel(self._vici, tunnel.unique_id, tunnel.spis)
        self.deadlines.keep_only({tunnel.spis for tunnel in listed})

    def _build_model(self) -> tuple[GatewayModel, str]:
        found = self._configuration
        if found is None:
            raise UnavailableError("the server has not said yet what this gateway is")
        model = GatewayModel(
            name=found.name,
            public_name=found.public_name,
            certificate_pem=found.certificate_pem,
            chain_pem=found.chain_pem,
            device_authority_pem=found.device_authority_pem,
            gate_url=self._gate_url,
            other_authorities=(),
            settings=found.settings.model_dump(),
        )
        return model, self._identity.gateway_key_pem

    def _write_fragment(self, found: Configuration) -> None:
        """strongswan.conf for this host, if it is another than before."""
        text = build_conf_fragment(
            radius_address=found.radius_address,
            radius_port=found.radius_port,
            accounting_port=found.accounting_port,
            radius_secret=found.radius_secret,
            nas_identifier=found.name,
        )
        path = self._folder.fragment
        if path.exists() and path.read_text(encoding="ascii") == text:
            return
        write_file(path, text, mode=FRAGMENT_MODE)
        self._reload_due = True
