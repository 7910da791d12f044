"""Accounting over the real socket of a real server: by pyrad, and by FreeRADIUS's client."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evertunnel import clock
from tests.interop.eap.conftest import BOB, Live, Wire
from tests.peers import accounting as peer
from tests.peers import radius
from tests.peers.eap_tls import Client
from tests.peers.gateway import Gateway

NewWire = Callable[..., Wire]
NOTHING_MORE_SECONDS = 0.3


def say(live: Live, wire: Wire, status: int, session: str, **values: Any) -> bytes:
    """A request and its answer, which must be right."""
    request = peer.build(live.secret, status, session, **values)
    answer = wire.carry(request)
    assert answer is not None
    peer.read_answer(live.secret, request, answer)
    return answer


def log_in(live: Live, wire: Wire) -> str:
    """Bob comes in through gw1; returns the Class of his Accept."""
    client = Client(
        root_pem=live.root_file.read_bytes(), pem=live.issue("--user", BOB).pem, identity=BOB, server_name="localhost"
    )
    accept = Gateway(live.secret, wire.carry).log_in(client)
    assert accept.code == radius.ACCEPT
    return str(accept.packet[radius.CLASS][0].decode())


def find_session(live: Live, session_id: str) -> dict[str, Any]:
    rows = json.loads(live.run("session", "list", "--past", "--json"))
    found: dict[str, Any] = next(row for row in rows if row["id"] == session_id)
    return found


def list_unrecognised(live: Live) -> dict[str, dict[str, Any]]:
    rows = json.loads(live.run("session", "list", "--unrecognised", "--json"))
    return {row["acct_session_id"]: row for row in rows}


def test_a_login_is_counted_under_its_class_until_it_stops(live: Live, new_wire: NewWire) -> None:
    class_ = log_in(live, new_wire())
    wire = new_wire(port="accounting")
    say(live, wire, peer.START, "login", class_=class_)
    say(live, wire, peer.INTERIM, "login", class_=class_, octets_in=3, giga_in=1)
    assert find_session(live, class_)["bytes_in"] == 2**32 + 3
    say(live, wire, peer.STOP, "login", class_=class_, octets_in=4, giga_in=1, octets_out=9, cause=4, signed=True)
    session = find_session(live, class_)
    assert (session["state"], session["end_reason"]) == ("ended", "it was idle for too long")
    assert (session["bytes_in"], session["bytes_out"]) == (2**32 + 4, 9)
    assert "login" not in list_unrecognised(live)


def test_a_restart_ends_what_was_there(live: Live, new_wire: NewWire) -> None:
    class_ = log_in(live, new_wire())
    say(live, new_wire(port="accounting"), peer.ON, "")
    assert find_session(live, class_)["end_reason"] == "the gateway restarted"


def test_what_was_not_granted_is_listed_as_such(live: Live, new_wire: NewWire) -> None:
    before = len(json.loads(live.run("session", "list", "--json")))
    wire = new_wire(port="accounting")
    first = say(live, wire, peer.START, "foreign", user="\x1b[31mmallory", client="198.51.100.9", identifier=5)
    assert wire.carry(peer.build(live.secret, peer.START, "foreign", user="\x1b[31mmallory", client="198.51.100.9",
                                 identifier=5)) == first  # fmt: skip
    assert list_unrecognised(live)["foreign"]["remote_address"] == "198.51.100.9"
    shown = live.run("session", "list", "--unrecognised")
    assert "mallory" in shown
    assert "\x1b" not in shown
    assert len(json.loads(live.run("session", "list", "--json"))) == before


def test_what_is_forged_or_of_a_stranger_gets_silence_and_the_port_goes_on(live: Live, new_wire: NewWire) -> None:
    wire, stranger = new_wire(port="accounting"), new_wire("127.0.0.2", port="accounting")
    good = peer.build(live.secret, peer.START, "forged")
    for packet in (
        b"",
        bytes(20),
        good[:-1],
        good[:-1] + bytes((good[-1] ^ 1,)),
        peer.build(b"guessed", peer.START, "forged"),
    ):
        wire.send(packet)
    wire.send(radius.build_request(live.secret, []))
    stranger.send(good)
    assert wire.receive(seconds=NOTHING_MORE_SECONDS) is None
    assert stranger.receive(seconds=NOTHING_MORE_SECONDS) is None
    say(live, wire, peer.START, "honest")
    assert "forged" not in list_unrecognised(live)


def test_said_twice_it_is_counted_once(live: Live, new_wire: NewWire) -> None:
    wire = new_wire(port="accounting")
    say(live, wire, peer.START, "before")
    request = peer.build(live.secret, peer.STOP, "before", octets_in=8, cause=1)
    answer = wire.carry(request)
    assert wire.carry(request) == answer
    record = list_unrecognised(live)["before"]
    assert (record["bytes_in"], record["end"]) == (8, "the user or the device ended it")


@pytest.mark.parametrize("status", ["Start", "Interim-Update", "Stop", "Accounting-On", "Accounting-Off"])
def test_freeradius_takes_our_answers(live: Live, tmp_path: Path, status: str) -> None:
    attributes = {
        "Acct-Status-Type": status,
        "Acct-Session-Id": f'"radclient {status}"',
        "User-Name": '"mallory"',
        "Acct-Input-Octets": "1",
        "Event-Timestamp": str(int(clock.now().timestamp())),
    }
    file = tmp_path / "request"
    file.write_text("".join(f"{name} = {value}\n" for name, value in attributes.items()), encoding="utf-8")
    secret = tmp_path / "secret"
    secret.write_bytes(live.secret)
    done = subprocess.run(
        ["radclient", "-x", "-r", "1", "-f", file, "-S", secret, f"127.0.0.1:{live.ports['accounting']}", "acct"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Accounting-Response" in done.stdout


def test_statistics_are_shown_for_people_and_programs(live: Live) -> None:
    found = json.loads(live.run("session", "statistics", "--json"))
    assert found["by"] is None
    assert set(found["usage"][0]) == {
        "name", "sessions", "seconds", "bytes_in", "bytes_out", "users", "devices", "at_once",
    }  # fmt: skip
    assert "AT ONCE" in live.run("session", "statistics", "--since", "2026-01-01")
    for by in ("user", "device", "gateway", "day"):
        assert "UTC" in live.run("session", "statistics", "--by", by)
    assert "FOR" in live.run("session", "list", "--past")
