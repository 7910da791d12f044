"""strongSwan's own EAP-MSCHAPv2 client through the gateway, where an administrator switched that on."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import vici as vici_package

from evertunnel.connector.tunnel import find_tunnels, take_down
from evertunnel.errors import UnavailableError
from evertunnel.gateways.strongswan import USER_CONNECTION
from evertunnel.lab.lab import PUBLIC_NAME, Lab, wait_for
from evertunnel.lab.network import CORP_INTRANET_ADDRESS, GATEWAY_ADDRESS, USER_NETWORK
from evertunnel.vici_connection import Section
from tests.lab.conftest import Bench

DAVE, PASSWORD, TUNNEL = "dave@corp.example", "dave's own password", "passwords"
ACCESS_POLICY = "VPN: require a compliant device"


@pytest.fixture(scope="module", autouse=True)
def dave(lab: Lab) -> Iterator[None]:
    """A user with a password that a network policy takes."""
    lab.run("policy", "mschapv2", "--on", "--accept-weakness")
    lab.run("user", "add", DAVE, "--password", password=PASSWORD)
    lab.run("policy", "network", "add", "Weak", "--grant", "--tunnel", "user", "--user", DAVE,
            "--method", "eap-mschapv2", "--position", "1")  # fmt: skip
    yield
    lab.run("policy", "network", "remove", "Weak")
    lab.run("policy", "mschapv2", "--off", "--cut", check=False)
    lab.run("user", "remove", DAVE)


@contextmanager
def initiated(bench: Bench, password: str) -> Iterator[None]:
    """Dave's tunnel. Raises UnavailableError when it does not come up."""
    root = bench.device_plan().root_pem
    connection: Section = {
        "version": "2",
        "proposals": ["aes256gcm16-prfsha384-ecp384"],
        "remote_addrs": [GATEWAY_ADDRESS],
        "vips": ["0.0.0.0"],
        "encap": "yes",
        "local": {"auth": "eap-mschapv2", "eap_id": DAVE},
        "remote": {"auth": "pubkey", "id": PUBLIC_NAME, "cacerts": [root]},
        "children": {"net": {"remote_ts": [USER_NETWORK], "esp_proposals": ["aes256gcm16-ecp384"]}},
    }
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(bench.lab.laptop_vici))
        vici_package.Session(own).load_shared({"id": "dave", "type": "EAP", "data": password, "owners": [DAVE]})
    with closing(bench.laptop()) as vici:
        try:
            vici.load_certificate(root, authority=True)
            vici.load_connection(TUNNEL, connection)
            vici.initiate(TUNNEL, timeout_ms=15_000)
            yield
        finally:
            take_down(vici, TUNNEL)
            bench.forget_credentials()


def find_refusal(bench: Bench, password: str) -> str:
    """What strongSwan logs of a tunnel that must not come up.

    After a refusal it says nothing, so that the attempt is recorded half a minute later: too late for a test.
    """
    log = bench.lab.folder / "laptop.charon.log"
    before = len(log.read_text())
    with pytest.raises(UnavailableError), initiated(bench, password):
        pass
    assert not [row for row in bench.sessions("user") if row["user"] == DAVE]
    return log.read_text()[before:]


def test_a_wrong_password_is_refused_and_says_nothing_of_policies(bench: Bench) -> None:
    assert "ERROR_AUTHENTICATION_FAILURE" in find_refusal(bench, "wrong")


def test_the_right_password_is_refused_where_a_policy_demands_a_compliant_device(bench: Bench) -> None:
    assert "ERROR_NO_DIALIN_PERMISSION" in find_refusal(bench, PASSWORD)


@pytest.fixture
def nothing_more(bench: Bench) -> Iterator[None]:
    """No policy demands more than the password."""
    bench.run("policy", "access", "switch", ACCESS_POLICY, "off")
    yield
    bench.run("policy", "access", "switch", ACCESS_POLICY, "on")


@pytest.mark.usefixtures("nothing_more")
def test_a_password_that_is_set_anew_ends_the_tunnel_that_the_old_one_opened(bench: Bench) -> None:
    with initiated(bench, PASSWORD), closing(bench.gateway()) as gateway:
        wait_for("the session", lambda: bool(bench.sessions("user")))
        (session,) = bench.sessions("user")
        bench.lab.run("user", "change", DAVE, "--password", password=PASSWORD)
        wait_for("the cut", lambda: not find_tunnels(gateway, USER_CONNECTION))
        wait_for("the end of the session", lambda: not bench.sessions("user"))
    (ended,) = [row for row in bench.rows("session", "list", "--past") if row["id"] == session["id"]]
    assert (ended["state"], ended["end_reason"]) == ("ended", "the password was changed")


@pytest.mark.usefixtures("nothing_more")
def test_the_right_password_gets_in_where_nothing_demands_more_until_the_switch(bench: Bench) -> None:
    assert "ERROR_AUTHENTICATION_FAILURE" in find_refusal(bench, "wrong")
    with initiated(bench, PASSWORD):
        wait_for("the session", lambda: bool(bench.sessions("user")))
        granted = next(row for row in bench.attempts() if row["outcome"] == "granted")
        assert (granted["user"], granted["login_method"]) == (DAVE, "eap-mschapv2")
        assert [row["user"] for row in bench.sessions("user")] == [DAVE]
        address = bench.lab.find_address(TUNNEL) or ""
        assert bench.lab.fetch(CORP_INTRANET_ADDRESS, address) == bench.lab.page
        assert bench.run("policy", "mschapv2", "--off", check=False).returncode != 0, "nobody was asked"
        # Beside it the gateway lists what was refused, half-open, for half a minute.
        with closing(bench.gateway()) as gateway:
            assert find_tunnels(gateway, USER_CONNECTION)
            bench.run("policy", "mschapv2", "--off", "--cut")
            wait_for("the cut", lambda: not find_tunnels(gateway, USER_CONNECTION))
        wait_for("the end of the session", lambda: not bench.sessions("user"))
