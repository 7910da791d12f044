"""The gateway process: one keeper for each gateway on this machine, with its key, certificate and fragment."""

import shutil
import threading
import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog
from cryptography import x509

from evertunnel.actions.decide import FindCountry, FindPlace
from evertunnel.actions.issue_certificate import Signer, Wanted
from evertunnel.actions.issue_gateway_certificate import find_or_issue
from evertunnel.errors import InvalidInputError, UnavailableError
from evertunnel.gateways.description import describe_gateway
from evertunnel.gateways.dynamic_keeper import DynamicKeeper, Reach
from evertunnel.gateways.files import FRAGMENT_MODE, write_file
from evertunnel.gateways.keeper import GatewayKeeper, build_local
from evertunnel.gateways.leaving import end_everything
from evertunnel.gateways.strongswan import GatewayModel, build_conf_fragment
from evertunnel.keystore import Keystore
from evertunnel.model import CertificateKind
from evertunnel.pki.keys import PrivateKey, encode_private_key, encode_public_key, generate_key
from evertunnel.storage import authorities, gateways
from evertunnel.storage.gateways import (
    disconnect_secret_context,
    gate_path_context,
    radius_secret_context,
    read_gateway,
)
from evertunnel.storage.store import Store, Watch
from evertunnel.storage.tables import AnyRow
from evertunnel.vici_connection import ViciConnection

_POLL_SECONDS = 0.5
_LOOK_EVERY_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Running:
    """A gateway that is looked after, and what of its row it was begun with."""

    name: str
    gateway: GatewayKeeper
    vici_socket: str
    sealed: tuple[object, ...]


# Its name, whether it is not ours, where it takes Disconnect-Requests, and under which sealed secret.
_Reached = tuple[object, ...]


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
        accounting_port: int,
        clock: Callable[[], datetime],
        find_country: FindCountry | None = None,
        find_place: FindPlace | None = None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._keystore = keystore
        self._folder = folder
        self._gate_url = gate_url
        self._radius_address = radius_address
        self._radius_port = radius_port
        self._accounting_port = accounting_port
        self._clock = clock
        self._find_country, self._find_place = find_country, find_place
        self._running: dict[str, _Running] = {}
        # With what of its row each was begun.
        self._dynamic: dict[str, tuple[_Reached, DynamicKeeper]] = {}

    def run(self, stopped: threading.Event) -> None:
        """Until stopped. Raises RuntimeError when a gateway is left without its threads: a new process has them."""
        watch = Watch(self._store)
        look_at = 0.0
        while not stopped.is_set():
            dead = [gateway_id for gateway_id, running in self._running.items() if not running.gateway.is_alive]
            dead += [gateway_id for gateway_id, (_, keeper) in self._dynamic.items() if not keeper.is_alive]
            if dead:
                raise RuntimeError(f"a thread of gateway {', '.join(dead)} ended")
            try:
                if watch.changed() or time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK_EVERY_SECONDS
                    self._follow_list()
            except UnavailableError as error:
                log.warning("cannot look for gateways", error=str(error))
            stopped.wait(_POLL_SECONDS)
        for running in self._running.values():
            running.gateway.stop()
        for _, keeper in self._dynamic.values():
            keeper.stop()
        watch.close()

    def _follow_list(self) -> None:
        """Start what is new, stop what was removed, and begin anew with what moved to another socket.

        All other changes of a gateway, being disabled included, its own threads follow: its tunnels must be ended.
        """
        with self._store.read() as connection:
            everybody = gateways.list_gateways(connection)
        rows = {row.id: row for row in everybody if not row.remote and not row.foreign}
        for gateway_id, running in list(self._running.items()):
            row = rows.get(gateway_id)
            if row is None or row.vici_socket != running.vici_socket:
                del self._running[gateway_id]
                running.gateway.stop()
                _leave(running, self._folder / running.name / "strongswan.conf")
        for row in rows.values():
            known = self._running.get(row.id)
            if known is None:
                self._write_fragment(row)
                self._start(row)
            elif (sealed := _list_sealed(row)) != known.sealed:
                self._write_fragment(row)
                self._running[row.id] = replace(known, sealed=sealed)
                _reload(known)
        self._clear_away({row.name for row in rows.values()})
        self._follow_dynamic(everybody)

    def _follow_dynamic(self, rows: Sequence[AnyRow]) -> None:
        """Those that only ask, and those that take Disconnect-Requests, wherever they are."""
        wanted = {row.id: _read_reach(row) for row in rows if row.foreign or row.disconnect_address}
        for gateway_id, (begun_with, keeper) in list(self._dynamic.items()):
            if wanted.get(gateway_id) != begun_with:
                del self._dynamic[gateway_id]
                keeper.stop()
        for row in rows:
            if row.id not in wanted or row.id in self._dynamic:
                continue
            try:
                reach = self._find_reach(row)
            except UnavailableError as error:
                log.error("gateway left out", gateway=row.name, error=str(error))
                continue
            keeper = DynamicKeeper(
                self._store,
                read_gateway(row),
                reach,
                clock=self._clock,
                find_country=self._find_country,
                find_place=self._find_place,
            )
            self._dynamic[row.id] = wanted[row.id], keeper
            keeper.start()

    def _find_reach(self, row: AnyRow) -> Reach | None:
        if not row.disconnect_address:
            return None
        if row.disconnect_secret_sealed is not None:
            context, sealed = disconnect_secret_context(row.id), [row.disconnect_secret_sealed]
        else:
            context, sealed = radius_secret_context(row.id), [row.radius_secret_sealed, row.previous_secret_sealed]
        secrets = tuple(self._keystore.unseal(each, context=context) for each in sealed if each is not None)
        address, _, port = row.disconnect_address.rpartition(":")
        return Reach(address.removeprefix("[").removesuffix("]"), int(port), secrets)

    def _start(self, row: AnyRow) -> None:
        gateway = GatewayKeeper(
            self._store,
            read_gateway(row),
            build_local(row.vici_socket, lambda: self._load_model(row.id)),
            clock=self._clock,
            find_country=self._find_country,
            find_place=self._find_place,
        )
        self._running[row.id] = _Running(row.name, gateway, row.vici_socket, _list_sealed(row))
        gateway.start()

    def _clear_away(self, names: Set[str]) -> None:
        """Files of gateways that are no more: a RADIUS secret, and the key of a certificate that is revoked."""
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.is_dir() and folder.name not in names and (folder / "strongswan.conf").exists():
                shutil.rmtree(folder, ignore_errors=True)
                self._keystore.remove_key("gateway", folder.name)

    def _load_model(self, gateway_id: str) -> tuple[GatewayModel, str]:
        """What strongSwan must be told now, and the private key of its certificate."""
        with self._store.read() as connection:
            row = gateways.get_gateway(connection, gateway_id)
            known = authorities.load_authorities(connection)
        key = self._load_key(row.name)
        certificate = self._find_certificate(row, key)
        gate_path = self._keystore.unseal(row.gate_path_sealed, context=gate_path_context(row.id)).decode()
        model = describe_gateway(row, known, certificate, gate_url=f"{self._gate_url}/{gate_path}")
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
        wanted = Wanted(
            kind=CertificateKind.GATEWAY,
            name=row.public_name,
            dns_names=(row.public_name,),
            public_key_der=encode_public_key(key.public_key()),
            gateway_id=row.id,
        )
        return find_or_issue(self._store, self._signer, wanted, actor=f"gateway {row.name}", clock=self._clock)

    def _write_fragment(self, row: AnyRow) -> None:
        """strongswan.conf for the gateway, replaced in one step; it holds the RADIUS secret."""
        secret = self._keystore.unseal(row.radius_secret_sealed, context=radius_secret_context(row.id)).decode()
        reach = self._find_reach(row)
        text = build_conf_fragment(
            radius_address=self._radius_address,
            radius_port=self._radius_port,
            accounting_port=self._accounting_port,
            radius_secret=secret,
            nas_identifier=row.name,
            disconnect=None if reach is None else (reach.address, reach.port, reach.secrets[0].decode()),
        )
        folder = self._folder / row.name
        try:
            folder.mkdir(mode=0o750, exist_ok=True)
        except OSError as error:
            raise UnavailableError(f"cannot make {folder}: {error.strerror}") from error
        write_file(folder / "strongswan.conf", text, mode=FRAGMENT_MODE)


def _list_sealed(row: AnyRow) -> tuple[object, ...]:
    """What of a row its fragment is made from."""
    return row.radius_secret_sealed, row.disconnect_address, row.disconnect_secret_sealed


def _read_reach(row: AnyRow) -> _Reached:
    sealed = row.disconnect_secret_sealed or (row.radius_secret_sealed, row.previous_secret_sealed)
    return row.name, row.foreign, row.disconnect_address, sealed


def _leave(running: _Running, fragment: Path) -> None:
    """Nobody looks after that strongSwan any more: it keeps neither our connections nor their tunnels."""
    connection = ViciConnection(running.vici_socket)
    try:
        end_everything(connection, fragment)
    except UnavailableError as error:
        log.warning(
            "strongSwan was left without being told, its tunnels may still be up: restart it",
            gateway=running.name,
            socket=running.vici_socket,
            error=str(error),
        )
    finally:
        connection.close()


def _reload(running: _Running) -> None:
    """Have strongSwan read its new RADIUS secret; until it does no user comes in, for we know the new one only."""
    connection = ViciConnection(running.vici_socket)
    try:
        connection.reload_settings()
    except UnavailableError as error:
        log.warning("strongSwan has the old RADIUS secret: restart it", gateway=running.name, error=str(error))
    finally:
        connection.close()
