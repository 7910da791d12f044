"""PEAP's key arithmetic and results, against a second writing of it and against what a hostile peer may send."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evertunnel.protocols.eap import peap_keys
from evertunnel.protocols.eap.packet import EAPError
from evertunnel.protocols.eap.peap_results import build_result, decode_results
from tests.peers.peap import expand


def test_expansion_is_a_chain_of_hmacs() -> None:
    assert peap_keys.expand(b"key", b"label", b"seed", 61) == expand(b"key", b"label", b"seed", 61)
    assert len(peap_keys.expand(b"key", b"label", b"seed", 128)) == 128


def test_keys_differ_with_tunnel_and_with_inner_method() -> None:
    made = {
        peap_keys.derive_compound_keys(bytes([tunnel] * 64), bytes([inner] * 64))
        for tunnel in (1, 2)
        for inner in (3, 4)
    }
    assert len(made) == 4


def test_a_short_inner_key_is_filled_with_zeros() -> None:
    assert peap_keys.derive_compound_keys(bytes(64), b"\1" * 16) == peap_keys.derive_compound_keys(
        bytes(64), b"\1" * 16 + bytes(16)
    )


def test_a_binding_holds_under_its_own_key_only() -> None:
    response = peap_keys.build_binding(b"k" * 20, bytes(32), subtype=peap_keys.BINDING_RESPONSE)
    assert len(response) == 60
    assert peap_keys.is_binding_right(b"k" * 20, response)
    assert not peap_keys.is_binding_right(b"l" * 20, response)
    assert not peap_keys.is_binding_right(b"k" * 20, peap_keys.build_binding(b"k" * 20, bytes(32))), "a request"


@given(st.binary(max_size=80))
def test_no_octets_are_a_binding_by_chance(data: bytes) -> None:
    assert not peap_keys.is_binding_right(b"k" * 20, data)


@given(st.binary(max_size=300))
def test_results_are_read_or_refused(data: bytes) -> None:
    try:
        found = decode_results(data)
    except EAPError:
        return
    assert found.result in (1, 2)


def test_optional_values_are_passed_over() -> None:
    data = struct.pack("!HHL", 7, 4, 311) + build_result(success=True) + struct.pack("!HH", 99, 0)
    assert decode_results(data).result == 1


@pytest.mark.parametrize("success", [True, False])
def test_a_result_is_read_back(success: bool) -> None:
    assert decode_results(build_result(success=success)).result == (1 if success else 2)
