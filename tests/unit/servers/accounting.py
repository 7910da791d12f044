"""An accounting port in this process, on a real database, and two gateways that speak to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from evertunnel.actions.decide import Decider
from evertunnel.model import Gateway, Session, SessionState, TunnelKind
from evertunnel.servers.accounting_server import AccountingServer, Pending
from evertunnel.servers.askers import Asker
from evertunnel.storage import sessions, tables
from evertunnel.storage.tables import AnyRow
from tests.installation import Installation
from tests.peers import accounting as peer

SECRETS = {"192.0.2.1": b"one secret", "192.0.2.2": b"another secret"}
OURS, OTHER = SECRETS
SESSION = "0123456789abcdef"


class Accounts:
    """The port. `uptime` moves only when a test moves it; the clock is the installation's."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.uptime = 1_000.0
        self.gateways: dict[str, Gateway] = {}
        for address in SECRETS:
            installation.add_gateway(f"gw{address[-1]}", address)
        decider = Decider()
        with installation.store.read() as connection:
            decider.refresh(connection)
        for gateway, _ in decider.list_gateways():
            self.gateways[gateway.radius_address] = gateway
        self.restart()

    def restart(self) -> None:
        """We ended and began again: nothing is known but what was stored."""
        self.server = AccountingServer(self.installation.store, self._find_asker)

    def carry(self, data: bytes, source: str = OURS, *, port: int = 40_000) -> bytes | None:
        """A datagram to the port and its answer."""
        now = self.installation.now
        outcome = self.server.receive(data, (source, port), now=now, uptime=self.uptime)
        if isinstance(outcome, Pending):
            answers = self.server.commit([outcome], now)
            return answers[0].data if answers else None
        return outcome.data if outcome is not None else None

    def say(self, status: int, session: str = "1-1", *, source: str = OURS, **values: Any) -> bytes:
        """A request by pyrad, whose answer must be right; returns the request."""
        request = peer.build(SECRETS[source], status, session, **values)
        answer = self.carry(request, source)
        assert answer is not None
        peer.read_answer(SECRETS[source], request, answer)
        return request

    def open_session(self, session_id: str = SESSION, *, source: str = OURS, **columns: Any) -> None:
        """A session as an Accept and the gateway's report leave it."""
        values: dict[str, Any] = {
            "kind": TunnelKind.USER, "state": SessionState.UP, "unique_id": 7, "spis": "a_b", "user_id": "u1",
            "created_at": self.installation.now - timedelta(minutes=1), "virtual_addresses": "10.31.0.1",
        }  # fmt: skip
        made = Session(session_id, gateway_id=self.gateways[source].id, **values | columns)
        with self.installation.store.write(self.installation.now) as tx:
            sessions.insert_sessions(tx, [made])

    def get_session(self, session_id: str = SESSION) -> AnyRow:
        return next(row for row in self._list("sessions") if row.id == session_id)

    def list_records(self) -> list[AnyRow]:
        return sorted(self._list("accounting"), key=lambda row: (row.began_at, row.acct_session_id))

    @property
    def record(self) -> AnyRow:
        (record,) = self.list_records()
        return record

    def stamp(self, **ago: float) -> int:
        """An Event-Timestamp so long ago."""
        return int((self.installation.now - timedelta(**ago)).timestamp())

    def at(self, stamp: int) -> datetime:
        return datetime.fromtimestamp(stamp, UTC)

    def _list(self, table: str) -> list[AnyRow]:
        with self.installation.store.read() as connection:
            return list(connection.execute(select(tables.metadata.tables[table])))

    def _find_asker(self, address: str) -> Asker | None:
        gateway = self.gateways.get(address)
        return Asker(gateway, (SECRETS[address],)) if gateway is not None else None
