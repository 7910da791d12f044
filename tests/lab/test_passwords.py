"""strongSwan's own EAP-MSCHAPv2 client through the gateway, where an administrator switched that on."""

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import vici as vici_package

from evertunnel.connector.tunnel import take_down
from evertunnel.errors import UnavailableError
from evertunnel.gateways.strongswan import USER_CONNECTION
from evertunnel.lab.lab import PUBLIC_NAME, wait_for
from evertunnel.lab.network import CORP_INTRANET_ADDRESS, GATEWAY_ADDRESS
from tests.lab.conftest import Bench

DAVE, PASSWORD, TUNNEL = "dave@corp.example", "dave's own password", "passwords"
ACCESS_POLICY = "VPN: require a compliant device"


def initiate(bench: Bench, password: str) -> None:
    """Dave's tunnel. Raises UnavailableError when it does not come up."""
    connection: dict[str, Any] = {
        "version": "2",
        "proposals": ["aes256gcm16-prfsha384-ecp384"],
        "remote_addrs": [GATEWAY_ADDRESS],
        "vips": ["0.0.0.0"],
        "encap": "yes",
        "local": {"auth": "eap-mschapv2", "eap_id": DAVE},
        "remote": {"auth": "pubkey", "id": PUBLIC_NAME, "cacerts": [bench.device_plan().root_pem]},
        "children": {"net": {"remote_ts": [f"{CORP_INTRANET_ADDRESS}/32"], "esp_proposals": ["aes256gcm16-ecp384"]}},
    }
    with socket.socket(socket.AF_UNIX) as own:
        own.connect(str(bench.lab.laptop_vici))
        session = vici_package.Session(own)
        session.load_shared({"id": "dave", "type": "EAP", "data": password, "owners": [DAVE]})
    with closing(bench.laptop()) as vici:
        vici.load_certificate(bench.device_plan().root_pem, authority=True)
        vici.load_connection(TUNNEL, connection)
        vici.initiate(TUNNEL, timeout_ms=15_000)


def refuse(bench: Bench, password: str) -> None:
    with pytest.raises(UnavailableError):
        initiate(bench, password)
    leave(bench)


def leave(bench: Bench) -> None:
    with closing(bench.laptop()) as vici:
        take_down(vici, TUNNEL)
    bench.forget_credentials()


@pytest.fixture
def weak(bench: Bench) -> Iterator[Bench]:
    bench.run("policy", "mschapv2", "--on", "--accept-weakness")
    bench.lab.run("user", "add", DAVE, "--password", password=PASSWORD)
    bench.run("policy", "network", "add", "Weak", "--grant", "--tunnel", "user", "--user", DAVE,
              "--method", "eap-mschapv2", "--position", "1")  # fmt: skip
    yield bench
    leave(bench)
    wait_for("the end of the session", lambda: not bench.sessions("user"))
    bench.run("policy", "network", "remove", "Weak")
    bench.run("policy", "mschapv2", "--off", "--cut", check=False)
    bench.run("user", "remove", DAVE)


def test_a_password_gets_in_where_nothing_demands_more_and_ends_with_the_switch(weak: Bench) -> None:
    # This client says nothing after a refusal, so it is recorded when we stop waiting: long after this test.
    refuse(weak, PASSWORD)  # a compliant device is demanded
    weak.run("policy", "access", "switch", ACCESS_POLICY, "off")
    try:
        refuse(weak, "wrong")
        assert weak.reason_of(lambda: initiate(weak, PASSWORD)) == "granted"
        wait_for("the session", lambda: bool(weak.sessions("user")))
        assert weak.run("policy", "mschapv2", "--off", check=False).returncode != 0, "nobody was asked"
        weak.run("policy", "mschapv2", "--off", "--cut")
        wait_for("the cut", lambda: not weak.gateway_tunnels(USER_CONNECTION), seconds=5)
    finally:
        weak.run("policy", "access", "switch", ACCESS_POLICY, "on", check=False)
