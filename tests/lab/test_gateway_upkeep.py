"""A gateway that somebody else works on is brought back to what it should be, without being told."""

import subprocess
from pathlib import Path

import pytest

from evertunnel.errors import UnavailableError
from evertunnel.gateways.strongswan import DEVICE_AUTHORITY, DEVICE_CONNECTION
from evertunnel.lab.lab import GATEWAY, wait_for
from tests.lab.conftest import Bench


@pytest.mark.parametrize("options", [(), ("--clear",)], ids=["reload", "clear"])
def test_what_swanctl_unloads_is_loaded_again(bench: Bench, tmp_path: Path, options: tuple[str, ...]) -> None:
    """`systemctl reload strongswan` is `swanctl --load-all`, which unloads everything that stands in no file."""
    plan = bench.device_plan()
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    (tmp_path / "swanctl.conf").write_text("")
    vici = bench.gateway()
    try:
        done = subprocess.run(
            ["swanctl", "--load-all", "--noprompt", *options, "--file", str(tmp_path / "swanctl.conf"),
             "--uri", f"unix://{bench.lab.folder}/gateway.vici"],
            capture_output=True, text=True,
        )  # fmt: skip
        assert vici.list_connections() == [], done.stderr
        wait_for("the connections", lambda: len(vici.list_connections()) == 2, seconds=7)
        wait_for("the rest", lambda: len(vici.list_loaded()["pool"]) == 2 and bool(vici.list_loaded()["authority"]))
        assert vici.find_own_certificate("CN=vpn.example.test")
    finally:
        vici.close()
    log = (bench.lab.folder / "serve.log").read_text()
    assert "strongSwan lost what it was told; loaded anew" in log
    bench.down(plan, "device")
    bench.up(plan)
    wait_for("the session", lambda: bool(bench.sessions("device")))
    bench.down(plan, "device")
    connect = bench.connect()
    bench.disconnect(connect)


def test_an_authority_that_somebody_changed_is_put_right(bench: Bench) -> None:
    vici = bench.gateway()
    try:
        pem = bench.authority_pem("device")
        vici.load_authority(DEVICE_AUTHORITY, {"cacert": pem, "ocsp_uris": ["http://127.0.0.1:1/elsewhere"]})
        wait_for(
            "the gate's own address",
            lambda: vici.list_loaded()["authority"][DEVICE_AUTHORITY]["ocsp_uris"] == [bench.gate_url()],
            seconds=7,
        )
    finally:
        vici.close()


def test_a_tunnel_without_a_child_is_ended_and_says_why(bench: Bench) -> None:
    """The client asks for a network that the gateway does not offer: the IKE_SA stays, and nothing can go through."""
    plan = bench.device_plan(networks=["203.0.113.0/24"])
    with pytest.raises(UnavailableError):
        bench.up(plan)
    assert bench.gateway_tunnels(DEVICE_CONNECTION)
    wait_for("the end", lambda: not bench.gateway_tunnels(DEVICE_CONNECTION), seconds=20)
    bench.forget_credentials()
    wait_for("the end of the session", lambda: not bench.sessions("device"))
    ended = bench.rows("session", "list", "--past")[0]
    assert "no CHILD_SA could be installed" in ended["end_reason"]
    assert "traffic selectors" in ended["end_reason"]


def test_a_new_secret_takes_the_place_of_the_old_while_strongswan_runs(bench: Bench) -> None:
    """It could not read a file of ours again, and ended every tunnel after that (docs/decisions/0016)."""
    fragment = bench.lab.state / "gateways" / GATEWAY / "strongswan.conf"
    before = fragment.read_text()
    log = bench.lab.folder / "gateway.charon.log"
    said = len(log.read_text())
    bench.run("gateway", "change", GATEWAY, "--rotate")
    wait_for("the new secret", lambda: "RADIUS server configuration" in log.read_text()[said:])
    assert fragment.read_text() != before
    assert "loaded 1 RADIUS server configuration" in log.read_text()[said:]
    bench.disconnect(bench.connect())
