"""Changing and removing gateways: what is given changes, secrets are made anew, nothing waits for what is gone."""

from typing import Any

import pytest
from sqlalchemy import select

from evertunnel.actions.change_gateway import GatewayChange, change_gateway
from evertunnel.actions.change_network_policies import add_network_policy, remove_network_policy
from evertunnel.actions.deny import deny
from evertunnel.actions.end_unentitled_sessions import end_unentitled_sessions
from evertunnel.actions.remove_gateway import remove_gateway
from evertunnel.errors import AlreadyExistsError, InvalidInputError, NotFoundError
from evertunnel.model import CertificateKind, Reason, Session, SessionState, SubjectKind, TunnelKind
from evertunnel.storage import effect_queue, gateways, sessions, tables
from evertunnel.storage.gateways import gate_path_context, radius_secret_context
from evertunnel.storage.tables import AnyRow
from tests.installation import ALICE, Installation


def change(installation: Installation, name: str = "gw1", *, rotate: bool = False, **changes: Any) -> None:
    def seal(secret: bytes, context: str) -> bytes:
        return installation.keystore.seal(secret, context=context)

    installation.do(change_gateway, name, GatewayChange(**changes), rotate=rotate, seal=seal)


def get(installation: Installation, name: str = "gw1") -> AnyRow:
    with installation.store.read() as connection:
        return gateways.get_gateway(connection, name)


def open_session(installation: Installation, gateway_id: str, certificate_id: str, user_id: str) -> None:
    with installation.store.write(installation.now) as tx:
        session = Session("s1", TunnelKind.USER, SessionState.UP, gateway_id, 1, installation.now, user_id=user_id,
                          certificate_id=certificate_id)  # fmt: skip
        sessions.insert_sessions(tx, [session])


def find_session(installation: Installation) -> AnyRow:
    with installation.store.read() as connection:
        return connection.execute(select(tables.sessions)).one()


def list_audit(installation: Installation, name: str) -> list[AnyRow]:
    with installation.store.read() as connection:
        return list(connection.execute(select(tables.audit).where(tables.audit.c.name == name)))


def test_what_is_given_changes_and_the_rest_stays(installation: Installation) -> None:
    installation.add_gateway()
    before = get(installation)
    change(installation, "GW1", dns=["10.20.0.53"], user_networks=["10.40.0.0/16"], encap=True)
    after = get(installation)
    assert after.settings == before.settings | {
        "dns": ["10.20.0.53"], "user_networks": ["10.40.0.0/16"], "encap": True,
    }  # fmt: skip
    rest = [{**row._asdict(), "settings": None} for row in (before, after)]
    assert rest[0] == rest[1]
    (entry,) = list_audit(installation, "gateway:change")
    assert entry.subject_id == before.id and '"encap":true' in entry.details


def test_rotating_makes_new_secrets_and_says_none_of_them(installation: Installation) -> None:
    gateway_id = installation.add_gateway()
    before = get(installation)
    change(installation, rotate=True)
    after = get(installation)
    for column, context in (
        ("radius_secret_sealed", radius_secret_context(gateway_id)), ("gate_path_sealed", gate_path_context(gateway_id))
    ):  # fmt: skip
        unseal = installation.keystore.unseal
        old = unseal(getattr(before, column), context=context)
        new = unseal(getattr(after, column), context=context)
        assert old != new and len(new) >= 32
    (entry,) = list_audit(installation, "gateway:change")
    assert entry.details == '{"rotated":true}'


def test_another_public_name_invalidates_the_certificate(installation: Installation) -> None:
    gateway_id = installation.add_gateway()
    issued = installation.issue(CertificateKind.GATEWAY, "vpn.example.test", gateway_id=gateway_id)
    change(installation, dns=["10.20.0.53"], public_name="VPN.example.test")
    assert installation.find_certificate(issued.id).status.value == "valid"
    change(installation, public_name="vpn2.example.test")
    assert installation.find_certificate(issued.id).status.value == "revoked"
    assert get(installation).public_name == "vpn2.example.test"


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "nothing": ({}, InvalidInputError, "nothing to change"),
    "a name that is none": ({"public_name": "vpn 2"}, InvalidInputError, "is not a DNS name"),
    "pools that overlap": ({"user_pool": "10.30.1.0/24"}, InvalidInputError, "overlap"),
    "an empty list of networks": ({"user_networks": []}, InvalidInputError, "--user-network: name at least one"),
    "the address of another": ({"radius_address": "127.0.0.2"}, AlreadyExistsError, "'gw2' asks from 127.0.0.2"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_makes_no_sense_is_refused_and_nothing_changes(installation: Installation, what: str) -> None:
    installation.add_gateway()
    installation.add_gateway("gw2", "127.0.0.2")
    before = get(installation)
    changes, error, words = WRONG[what]
    with pytest.raises(error, match=words):
        change(installation, **changes)
    assert get(installation) == before


def test_the_own_address_given_again_is_no_other_gateways(installation: Installation) -> None:
    installation.add_gateway()
    change(installation, radius_address="127.0.0.1", dns=["10.20.0.53"])


def test_a_disabled_gateway_takes_no_tunnel_and_those_it_has_end(installation: Installation) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    certificate_id = installation.issue_user(user_id)
    open_session(installation, gateway_id, certificate_id, user_id)
    installation.refresh()
    gateway = installation.decider.find_gateway(gateway_id)
    assert installation.decide(certificate_id, gateway=gateway).granted
    change(installation, enabled=False)
    # Whoever looked the gateway up before is told as well.
    assert installation.decide(certificate_id, gateway=gateway).reason is Reason.GATEWAY_DISABLED
    with installation.store.write(installation.now) as tx:
        installation.decider.refresh(tx.connection)
        rows = sessions.list_live_of_gateway(tx.connection, gateway_id)
        assert end_unentitled_sessions(tx, installation.decider, rows) == ["s1"]
    change(installation, enabled=True)
    assert installation.decide(certificate_id, gateway=gateway).granted


@pytest.mark.parametrize(("pool", "refused"), [("user_pool", True), ("device_pool", False)])
def test_a_pool_in_use_is_not_changed(installation: Installation, pool: str, refused: bool) -> None:
    gateway_id, user_id = installation.add_gateway(), installation.add_user()
    open_session(installation, gateway_id, installation.issue_user(user_id), user_id)
    if refused:
        with pytest.raises(InvalidInputError, match=r"gateway change gw1 --disable"):
            change(installation, **{pool: "10.99.0.0/24"})
    else:
        change(installation, **{pool: "10.99.0.0/24"})


def test_a_removed_gateway_is_gone_with_its_sessions_and_no_denial_waits_for_it(installation: Installation) -> None:
    installation.do(add_network_policy, "everything", {"permission": "grant"})
    gateway_id, other_id = installation.add_gateway(), installation.add_gateway("gw2", "127.0.0.2")
    user_id = installation.add_user()
    certificate_id = installation.issue_user(user_id)
    issued = installation.issue(CertificateKind.GATEWAY, "vpn.example.test", gateway_id=gateway_id)
    open_session(installation, gateway_id, certificate_id, user_id)
    installation.refresh()
    gateway = installation.decider.find_gateway(gateway_id)
    denial_id = installation.do(deny, SubjectKind.USER, ALICE, reason="test")
    installation.do(remove_gateway, "GW1")
    session = find_session(installation)
    assert (session.state, session.end_reason) == ("ended", "denied: test")
    with installation.store.read() as connection:
        states = {row.gateway_id: (row.state, row.last_error)
                  for row in effect_queue.list_of_denial(connection, denial_id)}  # fmt: skip
        assert [row.name for row in gateways.list_gateways(connection)] == ["gw2"]
    assert states == {gateway_id: ("dropped", "the gateway was removed"), other_id: ("pending", "")}
    assert installation.find_certificate(issued.id).status.value == "revoked"
    facts = installation.decider.gather_facts(at=installation.now, tunnel=TunnelKind.USER, gateway=gateway)
    assert facts.gateway is not None and not facts.gateway.enabled
    (entry,) = list_audit(installation, "gateway:remove")
    assert (entry.subject, entry.subject_id) == ("gw1", gateway_id)
    assert '"sessions":1' in entry.details
    assert installation.add_gateway() != gateway_id  # the name is free again


def test_a_gateway_that_a_policy_names_is_not_removed(installation: Installation) -> None:
    installation.add_gateway()
    installation.do(add_network_policy, "office", {"permission": "deny", "conditions": {"gateways": ["gw1"]}})
    with pytest.raises(InvalidInputError, match="the network policy 'office' names gw1: change it first"):
        installation.do(remove_gateway, "gw1")
    installation.do(remove_network_policy, "office")
    installation.do(remove_gateway, "gw1")


def test_a_gateway_nobody_knows(installation: Installation) -> None:
    with pytest.raises(NotFoundError, match="there is no gateway 'gw9'"):
        installation.do(remove_gateway, "gw9")
    with pytest.raises(NotFoundError, match="there is no gateway 'gw9'"):
        change(installation, "gw9", enabled=False)
