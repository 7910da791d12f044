"""VICI messages are read as the `vici` package reads them, and nothing else is read as one."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vici.protocol import FiniteStream, Message

from evertunnel.protocols.vici import ViciMessageError, decode_message

NAMES = st.text(min_size=1, max_size=20)
SECTIONS = st.recursive(
    st.dictionaries(NAMES, st.text(max_size=300) | st.lists(st.text(max_size=20), max_size=4), max_size=5),
    lambda inner: st.dictionaries(NAMES, inner | st.text(max_size=20), max_size=4),
    max_leaves=8,
)


def to_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [to_text(item) for item in value]
    return {name: to_text(inner) for name, inner in value.items()}


@given(SECTIONS)
def test_it_reads_what_the_package_reads(message: dict[str, Any]) -> None:
    data = Message.serialize(message)
    assert decode_message(data) == message == to_text(Message.deserialize(FiniteStream(data)))
    assert decode_message(b"head" + data, 4) == message


@given(SECTIONS, st.data())
def test_what_is_cut_off_is_refused_or_a_whole_beginning(message: dict[str, Any], data: st.DataObject) -> None:
    whole = Message.serialize(message)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    try:
        found = decode_message(cut)
    except ViciMessageError:
        return
    assert Message.serialize(found) == cut


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ViciMessageError):
        decode_message(data)


@pytest.mark.parametrize(
    "data", [b"\x02", b"\x07", b"\x01\x01a", b"\x03\x01a\x00\x05hell", b"\x04\x01a\x05\x00\x01x\x03"]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ViciMessageError):
        decode_message(data)


def test_what_is_not_utf8_is_replaced() -> None:
    assert decode_message(b"\x03\x02id\x00\x02\xff\xfe") == {"id": "\N{REPLACEMENT CHARACTER}" * 2}


def test_what_nobody_reads_may_be_left_unread() -> None:
    tunnel = {"uniqueid": "7", "remote-vips": ["10.0.0.1"], "child-sas": {"net-1": {"state": "INSTALLED"}}}
    message = Message.serialize({"evertunnel-user": tunnel})
    assert decode_message(message, until="child-sas") == {
        "evertunnel-user": {"uniqueid": "7", "remote-vips": ["10.0.0.1"]}
    }
    assert decode_message(message, until="tasks-active") == decode_message(message) == {"evertunnel-user": tunnel}
