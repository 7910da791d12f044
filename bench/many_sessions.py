"""Ten thousand live tunnels on one simulated gateway: how long until one denial is confirmed, and a thousand?"""

import secrets
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Event

from sqlalchemy import insert, select
from tests.installation import Installation, copy_installation, create

from bench.mass import ENDED, Mass, measure_mass
from bench.simulated_strongswan import list_numbers, make_spi, name_user
from evertunnel import clock
from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.decide import Decider
from evertunnel.actions.deny import deny
from evertunnel.effects import EffectState
from evertunnel.errors import UnavailableError
from evertunnel.gateways.keeper import GatewayKeeper, build_local
from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.model import Authority, CertificateKind, CertificateStatus, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import tables
from evertunnel.storage.store import Store, new_id

TUNNELS = 10_000
MANY = 1_000
_ONE_BY_ONE = 5


@dataclass(frozen=True, slots=True)
class ManySessions:
    """Seconds from a denial's commit to its confirmation, five times; and from a thousand's first to their last.

    Then two changes that end a thousand sessions: a policy, and a fact of everybody.
    """

    one: Sequence[float]
    many: float
    policy: Mass
    facts: Mass


def measure_many_sessions(folder: Path) -> ManySessions:
    """Deny one user after another, then a thousand as fast as they can be denied."""
    path = folder / "many.db"
    installation = copy_installation(path, folder / "copy.db", create(f"sqlite:///{path}"))
    installation.clock.moment = clock.now()
    gateway_id = _fill(installation)
    vici = folder / "simulated.vici"
    simulated = subprocess.Popen([sys.executable, "-m", "bench.simulated_strongswan", str(vici), str(TUNNELS)])
    while not vici.exists():
        time.sleep(0.05)
    # In a process of its own, as the gateway's is: a denial is written by another.
    gateway = get_context("spawn").Process(target=_keep, args=(installation.store.url, gateway_id, str(vici)))
    gateway.start()
    try:
        time.sleep(5)  # it looks at all of them first
        store = installation.store
        numbers = list_numbers(TUNNELS)
        alone, rest = numbers[:_ONE_BY_ONE], numbers[_ONE_BY_ONE:]
        together, others = rest[:MANY], rest[MANY:]
        one = [_measure(store, [name_user(number)]) for number in alone]
        many = _measure(store, [name_user(number) for number in together])
        _verify(store, _ONE_BY_ONE + MANY)
        policy, facts = measure_mass(store, others)
        _verify(store, _ONE_BY_ONE + MANY + 2 * ENDED)
    finally:
        gateway.kill()
        gateway.join()
        simulated.kill()
        simulated.wait()
    return ManySessions(one, many, policy, facts)


def _keep(url: str, gateway_id: str, vici: str) -> None:
    store, decider = Store(url), Decider()
    with store.read() as connection:
        decider.refresh(connection)
    found = decider.find_gateway(gateway_id)
    assert found is not None
    GatewayKeeper(store, found, build_local(vici, _load_nothing), clock=clock.now).start()
    Event().wait()


def _measure(store: Store, names: Sequence[str]) -> float:
    for name in names:
        deny(store, SubjectKind.USER, name, reason="measurement", actor="bench", now=clock.now())
    while _count_pending(store):
        time.sleep(0.01)
    effects = tables.effects.c
    with store.read() as connection:
        rows = connection.execute(
            select(effects.created_at, effects.confirmed_at)
            .where(effects.state == EffectState.CONFIRMED.value)
            .order_by(effects.created_at.desc())
            .limit(len(names))
        ).all()
    took: timedelta = max(row.confirmed_at for row in rows) - min(row.created_at for row in rows)
    return took.total_seconds()


def _count_pending(store: Store) -> int:
    with store.read() as connection:
        return len(connection.execute(select(tables.effects.c.id).where(tables.effects.c.state == "pending")).all())


def _verify(store: Store, ended: int) -> None:
    live = (SessionState.UP.value, SessionState.ENDING.value)
    with store.read() as connection:
        left = len(connection.execute(select(tables.sessions.c.id).where(tables.sessions.c.state.in_(live))).all())
    assert left == TUNNELS - ended, f"{left} sessions are left"


def _load_nothing() -> tuple[GatewayModel, str]:
    raise UnavailableError("nothing is loaded here")


def _fill(installation: Installation) -> str:
    """Users, each with a certificate and a session that is up. Written at once: one by one it would take minutes."""
    installation.do(add_network_policy, "Everybody", {"permission": "grant"})
    gateway_id = installation.add_gateway()
    now = clock.now()
    people = [(new_id(), new_id(), number) for number in list_numbers(TUNNELS)]
    with installation.store.write(now) as tx:
        tx.connection.execute(insert(tables.users), [_build_user(user, number, now) for user, _, number in people])
        tx.connection.execute(insert(tables.certificates), [_build_certificate(*person, now) for person in people])
        tx.connection.execute(insert(tables.sessions), [_build_session(*person, gateway_id, now) for person in people])
        for user, certificate, _ in people:
            tx.raise_epoch("user", user)
            tx.raise_epoch("certificate", certificate)
    return gateway_id


def _build_user(user: str, number: int, now: datetime) -> dict[str, object]:
    name = name_user(number)
    return {
        "id": user, "name": name, "name_key": name, "display_name": "", "password_hash": None, "enabled": True,
        "created_at": now,
    }  # fmt: skip


def _build_certificate(user: str, certificate: str, number: int, now: datetime) -> dict[str, object]:
    return {
        "id": certificate, "authority": Authority.ISSUING.value, "serial": f"{number:x}",
        "kind": CertificateKind.USER.value, "status": CertificateStatus.VALID.value, "subject_name": name_user(number),
        "dns_names": [], "public_key_der": b"", "not_before": now, "not_after": now + timedelta(days=30),
        "user_id": user, "granted_by": "bench", "granted_at": now, "certificate_der": b"-",
        "fingerprint": secrets.token_bytes(32),
    }  # fmt: skip


def _build_session(user: str, certificate: str, number: int, gateway_id: str, now: datetime) -> dict[str, object]:
    return {
        "id": new_id(), "kind": TunnelKind.USER.value, "state": SessionState.UP.value, "gateway_id": gateway_id,
        "unique_id": number, "spis": f"{make_spi(number)}:{make_spi(number)}", "user_id": user,
        "certificate_id": certificate, "remote_address": "203.0.113.7", "virtual_addresses": "", "created_at": now,
        "up_at": now, "seen_at": now, "end_reason": "", "bytes_in": 0, "bytes_out": 0,
    }  # fmt: skip
