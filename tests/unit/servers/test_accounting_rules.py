"""Forged, malformed, replayed and lying accounting: silence, or nothing that is another's is touched."""

import os
import random
import struct
from hashlib import md5

import pytest

from evertunnel.protocols.radius.accounting import explain_terminate_cause
from tests.peers import accounting as peer
from tests.unit.servers.accounting import OTHER, OURS, SECRETS, SESSION, Accounts

SECRET = SECRETS[OURS]


def seal(attributes: bytes, *, secret: bytes = SECRET, code: int = 4, length: int | None = None) -> bytes:
    """A request of attribute octets as they are, with the right authenticator."""
    start = struct.pack("!BBH", code, 9, 20 + len(attributes) if length is None else length)
    return start + md5(start + bytes(16) + attributes + secret).digest() + attributes


def encode(number: int, value: bytes) -> bytes:
    return bytes((number, len(value) + 2)) + value


START = encode(40, b"\0\0\0\1")
NAMED = START + encode(44, b"1-1")


def test_a_wrong_authenticator_is_dropped(accounts: Accounts) -> None:
    good = peer.build(SECRET, peer.START)
    for at in range(len(good)):
        if at != 1:  # another Identifier is covered by the authenticator as well
            assert accounts.carry(good[:at] + bytes((good[at] ^ 1,)) + good[at + 1 :]) is None
    assert accounts.carry(peer.build(b"guessed", peer.START)) is None
    assert accounts.carry(good[:1] + bytes((good[1] ^ 1,)) + good[2:]) is None
    assert accounts.list_records() == []


def test_another_gateways_secret_is_a_wrong_one_and_strangers_get_silence(accounts: Accounts) -> None:
    assert accounts.carry(peer.build(SECRETS[OTHER], peer.START), OURS) is None
    assert accounts.carry(peer.build(SECRET, peer.START), "203.0.113.1") is None
    assert accounts.list_records() == []
    assert accounts.server.take_dropped() == {"malformed_or_forged": 1, "unknown_gateway": 1}


def test_a_message_authenticator_must_be_right_if_it_is_there(accounts: Accounts) -> None:
    assert accounts.carry(peer.build(SECRET, peer.START, signed=True)) is not None
    assert accounts.carry(seal(NAMED + encode(80, bytes(16)))) is None
    assert accounts.carry(seal(NAMED + encode(80, bytes(15)))) is None
    signed = peer.build(SECRET, peer.START, signed=True)[20:]
    assert accounts.carry(seal(signed + encode(80, bytes(16)))) is None


@pytest.mark.parametrize(
    "attributes",
    [
        b"", encode(44, b"1-1"), START + START + encode(44, b"1-1"), encode(40, b"\0\0\0") + encode(44, b"1-1"),
        encode(40, b"\0\0\0\x09") + encode(44, b"1-1"), START, START + encode(44, b""), NAMED + b"\x01",
        NAMED + b"\x01\x00", NAMED + b"\x01\x01", NAMED + b"\x01\xff",
    ],
    ids=range(11),
)  # fmt: skip
def test_what_is_no_request_gets_silence(accounts: Accounts, attributes: bytes) -> None:
    assert accounts.carry(seal(attributes)) is None
    assert accounts.list_records() == []


def test_lengths_that_lie_and_other_codes_get_silence(accounts: Accounts) -> None:
    assert accounts.carry(seal(NAMED)) is not None
    assert accounts.carry(seal(NAMED) + b"padding") is not None
    packets = [seal(NAMED, length=length) for length in (0, 19, 20 + len(NAMED) + 1, 4_097, 65_535)]
    packets += [seal(NAMED, code=code) for code in range(256) if code != 4]  # 12 as well: it is not signed
    packets += [seal(NAMED)[:end] for end in range(20 + len(NAMED))]
    packets += [seal(NAMED + encode(33, bytes(253)) * 16)]
    assert [accounts.carry(packet) for packet in packets] == [None] * len(packets)


def test_noise_gets_silence_and_sealed_noise_no_error(accounts: Accounts) -> None:
    chance = random.Random(2)
    for _ in range(500):
        assert accounts.carry(chance.randbytes(chance.randint(0, 300))) is None
    for _ in range(300):
        number = chance.choice([1, 5, 8, 24, 25, 30, 31, 41, 42, 46, 49, 52, 55, 97, 168, 26])
        value = chance.randbytes(chance.choice([0, 1, 3, 4, 5, 16, 18, 253]))
        status = encode(40, struct.pack("!I", chance.choice([1, 2, 3])))
        assert accounts.carry(seal(status + encode(44, os.urandom(4)) + encode(number, value))) is not None


def test_proxy_states_come_back_in_order(accounts: Accounts) -> None:
    request = peer.build(SECRET, peer.START, proxy_state=[b"first", b"second"])
    answer = accounts.carry(request)
    assert answer is not None
    assert peer.read_answer(SECRET, request, answer)[33] == [b"first", b"second"]


def test_huge_values_fit(accounts: Accounts) -> None:
    accounts.open_session()
    huge = dict.fromkeys(("octets_in", "octets_out", "giga_in", "giga_out", "session_time", "nas_port"), 2**32 - 1)
    accounts.say(peer.INTERIM, class_=SESSION, **huge)
    accounts.say(peer.STOP, class_=SESSION, **huge, delay=2**32 - 1, stamp=2**32 - 1, cause=2**32 - 1)
    assert accounts.record.bytes_in == accounts.get_session().bytes_out == 2**63 - 1
    assert accounts.record.end_cause == "the gateway gave cause 4294967295"


def test_texts_are_bounded_and_have_no_nul(accounts: Accounts) -> None:
    accounts.say(peer.START, "s" * 253, user=b"\xff\0" * 100, client="9" * 200, class_=[b"\xff"] * 100)
    record = accounts.record
    assert "\0" not in record.user_name
    assert (len(record.acct_session_id), len(record.remote_address)) == (253, 64)


@pytest.mark.parametrize("status", [peer.START, peer.INTERIM, peer.STOP])
def test_another_gateways_session_is_neither_ended_nor_changed(accounts: Accounts, status: int) -> None:
    accounts.open_session(source=OTHER)
    accounts.say(peer.START, source=OTHER, class_=SESSION, nas_port=7)
    session, record = accounts.get_session(), accounts.record
    for values in (
        {"class_": SESSION},
        {"class_": [SESSION, "x"], "nas_port": 7},
        {"nas_port": 7, "address": b"\x0a\x1f\0\1"},
        {},
    ):
        accounts.say(status, session="1-1", octets_in=5_000, octets_out=5_000, **values)
    assert accounts.get_session() == session
    theirs = [one for one in accounts.list_records() if one.gateway_id == accounts.gateways[OTHER].id]
    assert theirs == [record]
    ours = [one for one in accounts.list_records() if one.gateway_id == accounts.gateways[OURS].id]
    assert {one.session_id for one in ours} == {None}


def test_a_replayed_restart_ends_nothing_more(accounts: Accounts) -> None:
    request = accounts.say(peer.ON)
    accounts.installation.clock.forward(hours=1)
    accounts.open_session()
    accounts.uptime += 3_600
    assert accounts.carry(request, port=50_000) is not None
    assert accounts.get_session().state == "up"


def test_a_replayed_stop_ends_no_later_session(accounts: Accounts) -> None:
    accounts.open_session()
    stop = accounts.say(peer.STOP, class_=SESSION, nas_port=7)
    accounts.installation.clock.forward(hours=1)
    accounts.open_session("fedcba9876543210")
    accounts.uptime += 3_600
    accounts.carry(stop, port=50_000)
    assert accounts.get_session("fedcba9876543210").state == "up"


def test_every_cause_has_words() -> None:
    assert explain_terminate_cause(None) == "the gateway gave no cause"
    words = [explain_terminate_cause(number) for number in range(1, 19)]
    assert len(set(words)) == 18
    assert not any("cause" in text for text in words)
