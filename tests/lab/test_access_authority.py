"""Rotation of the access authority with tunnels up, and what is no short-lived certificate, through real strongSwan."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from evertunnel.connector.tunnel import TunnelPlan, bring_up, take_down
from evertunnel.errors import UnavailableError
from evertunnel.gateways.strongswan import USER_CONNECTION
from evertunnel.lab.lab import PASSWORD, PUBLIC_NAME, USER, wait_for
from evertunnel.lab.network import GATEWAY_ADDRESS, USER_NETWORK
from tests.lab.conftest import Bench
from tests.lab.test_device_connection import SHORT_LIVED_SCRIPT

COMMAND = ("certificate", "access-authority")


class Client:
    """Alice's user tunnel with one certificate of hers, whatever a connector would do; the laptop knows no other."""

    def __init__(self, bench: Bench, name: str, issued: dict[str, Any], *, proposal: int) -> None:
        root_pem = (bench.lab.folder / "laptop" / "root.pem").read_text()
        self._bench = bench
        self._plan = TunnelPlan(
            name=name,
            gateway_address=GATEWAY_ADDRESS,
            gateway_name=PUBLIC_NAME,
            networks=[USER_NETWORK],
            certificate_pem=issued["certificate_pem"],
            chain_pem=issued["chain_pem"],
            key_pem=issued["key_pem"],
            root_pem=root_pem,
            user_name=USER,
            encap=True,
            # Of what equals a connection in use, strongSwan would use that one again.
            ike_proposals=[("aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256")[proposal]],
        )

    def connect(self) -> str:
        """Returns the id of the session. Raises UnavailableError."""
        before = set(self._list())
        self._bench.forget_credentials()
        with closing(self._bench.laptop()) as vici:
            bring_up(vici, self._plan)
        wait_for("the session", lambda: bool(set(self._list()) - before))
        (session,) = set(self._list()) - before
        return session

    def disconnect(self) -> None:
        before = len(self._list())
        with closing(self._bench.laptop()) as vici:
            take_down(vici, self._plan.name)
        wait_for("the end of the session", lambda: len(self._list()) < before)

    def refuse(self) -> None:
        """Try, and be refused. charon leaves at our alert without a word: the gateway and the record wait for it
        half a minute, so the reason is asked for in tests/interop/eap.
        """
        before = self._list_established()
        self._bench.forget_credentials()
        with closing(self._bench.laptop()) as vici, pytest.raises(UnavailableError):
            bring_up(vici, self._plan)
        assert self._list_established() == before

    def _list_established(self) -> list[str]:
        tunnels = self._bench.gateway_tunnels(USER_CONNECTION)
        return [str(tunnel["uniqueid"]) for tunnel in tunnels if tunnel["state"] == "ESTABLISHED"]

    def _list(self) -> list[str]:
        return [str(row["id"]) for row in self._bench.sessions("user")]


@pytest.fixture(autouse=True)
def _clean(bench: Bench) -> Iterator[None]:
    yield
    bench.leave_nothing()
    bench.forget_credentials()


def sign_in(bench: Bench) -> dict[str, Any]:
    """A short-lived certificate, its key and chain, as the laptop gets them."""
    command = [sys.executable, "-c", SHORT_LIVED_SCRIPT, f"https://{PUBLIC_NAME}",
               str(bench.lab.folder / "laptop"), USER, PASSWORD, GATEWAY_ADDRESS]  # fmt: skip
    printed = subprocess.run(bench.lab.network.wrap("laptop", *command), capture_output=True, check=True).stdout
    return dict(json.loads(printed))


def list_live(bench: Bench) -> set[str]:
    return {str(row["id"]) for row in bench.sessions("user")}


def test_it_is_rotated_with_tunnels_of_both_and_the_distrusted_ones_are_cut(bench: Bench) -> None:
    before = next(row["name"] for row in bench.rows(*COMMAND, "list") if row["state"] == "active")
    old_certificate = sign_in(bench)
    old = Client(bench, "lab-old-authority", old_certificate, proposal=0)
    old_session = old.connect()

    staged = json.loads(bench.run(*COMMAND, "create", "--json").stdout)["name"]
    assert sign_in(bench)["chain_pem"] == old_certificate["chain_pem"], "a staged one signs nothing"
    bench.run(*COMMAND, "activate", staged)
    new_certificate = sign_in(bench)
    assert new_certificate["chain_pem"] != old_certificate["chain_pem"]
    new = Client(bench, "lab-new-authority", new_certificate, proposal=1)
    new_session = new.connect()
    assert list_live(bench) == {old_session, new_session}

    old.disconnect()
    old_session = old.connect()
    assert list_live(bench) == {old_session, new_session}, "while both are trusted, the old certificate connects again"

    bench.run(*COMMAND, "retire", before, "--distrust")
    assert wait_for("the cut", lambda: len(bench.gateway_tunnels(USER_CONNECTION)) == 1) < 1
    wait_for("the end of the session", lambda: list_live(bench) == {new_session})
    ended = next(row for row in bench.rows("session", "list", "--past") if row["id"] == old_session)
    assert ended["end_reason"] == "certificate_revoked"
    old.refuse()
    assert list_live(bench) == {new_session}
    new.disconnect()
    new.connect()
    new.disconnect()


def test_a_long_lived_certificate_is_no_road_round(bench: Bench, tmp_path: Path) -> None:
    bench.run("certificate", "issue", "--user", USER, "--out", str(tmp_path))
    texts = {name: (tmp_path / f"{name}.pem").read_text() for name in ("certificate", "key", "chain")}
    issued = {"certificate_pem": texts["certificate"], "key_pem": texts["key"], "chain_pem": [texts["chain"]]}
    Client(bench, "lab-long-lived", issued, proposal=0).refuse()
    assert not bench.sessions("user")
    client = Client(bench, "lab-short-lived", sign_in(bench), proposal=0)
    client.connect()
    client.disconnect()
