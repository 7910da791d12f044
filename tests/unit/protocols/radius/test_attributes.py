"""Numbers of codes and attributes, against pyrad's."""

from pyrad import packet as pyrad

from evertunnel.protocols.radius import attributes
from tests.peers import radius


def test_codes_are_those_of_pyrad() -> None:
    assert {code.name: code.value for code in attributes.Code} == {
        "ACCESS_REQUEST": pyrad.AccessRequest,
        "ACCESS_ACCEPT": pyrad.AccessAccept,
        "ACCESS_REJECT": pyrad.AccessReject,
        "ACCESS_CHALLENGE": pyrad.AccessChallenge,
        "ACCOUNTING_REQUEST": pyrad.AccountingRequest,
        "ACCOUNTING_RESPONSE": pyrad.AccountingResponse,
        "STATUS_SERVER": pyrad.StatusServer,
        "DISCONNECT_REQUEST": pyrad.DisconnectRequest,
        "DISCONNECT_ACK": pyrad.DisconnectACK,
        "DISCONNECT_NAK": pyrad.DisconnectNAK,
        "COA_REQUEST": pyrad.CoARequest,
        "COA_ACK": pyrad.CoAACK,
        "COA_NAK": pyrad.CoANAK,
    }


def test_attributes_are_those_the_peer_uses() -> None:
    shared = [name for name in dir(radius) if name.isupper() and hasattr(attributes, name)]
    assert len(shared) >= 10
    assert {name: getattr(attributes, name) for name in shared} == {name: getattr(radius, name) for name in shared}


def test_the_longest_value_fills_the_length_octet() -> None:
    assert attributes.MAXIMUM_VALUE_BYTES + 2 == 255
