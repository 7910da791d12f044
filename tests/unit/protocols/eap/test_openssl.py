"""The few calls through pyOpenSSL's private binding: an upgrade that breaks one is found here."""

import contextlib
from collections.abc import Callable

import pytest
from OpenSSL import SSL

from evertunnel.protocols.eap import openssl
from tests.unit.protocols.eap.conftest import House

# <openssl/x509_vfy.h>, the same since OpenSSL 1.0.
EXPIRED, FOREIGN, USAGE = {9, 10}, {2, 7, 18, 19, 20, 21, 27}, {26, 28}


def test_the_errors_have_the_numbers_of_the_header() -> None:
    assert openssl.ERROR_REVOKED == 23
    assert openssl.ERRORS_EXPIRED == EXPIRED
    assert openssl.ERRORS_FOREIGN == FOREIGN
    assert openssl.ERRORS_USAGE >= USAGE
    assert not openssl.ERRORS_USAGE & (EXPIRED | FOREIGN | {openssl.ERROR_OK, openssl.ERROR_REVOKED})


def shake_hands(house: House, client_context: SSL.Context) -> tuple[SSL.Connection, SSL.Connection, list[int]]:
    """Both ends over memory, and the sizes of the client's messages."""
    server_context = house.context._context
    server, client = SSL.Connection(server_context, None), SSL.Connection(client_context, None)
    server.set_accept_state()
    client.set_connect_state()
    house.context.handshaking = house.context.new_handshake()
    sizes = []
    for _ in range(4):
        for end, other in ((client, server), (server, client)):
            with contextlib.suppress(SSL.WantReadError):
                end.do_handshake()
            try:
                data = end.bio_read(65_536)
            except SSL.WantReadError:
                continue
            other.bio_write(data)
            if end is client:
                sizes.append(len(data))
    return server, client, sizes


def new_client_context(house: House) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.use_certificate(house.alice.certificate)
    context.use_privatekey(house.alice.key)
    return context


def test_a_post_quantum_offer_is_answered_with_x25519_in_one_round(house: House) -> None:
    server, client, sizes = shake_hands(house, new_client_context(house))
    assert sizes[0] > 1_400, "this client offers a post-quantum share, which is large"
    assert client.get_group_name() == server.get_group_name() == "x25519"
    assert len(sizes) == 2, "a retry would be a round more"


@pytest.mark.parametrize(("group", "name"), [("P-256", "secp256r1"), ("P-384", "secp384r1")])
def test_the_curves_of_our_certificates_are_among_the_groups(house: House, group: str, name: str) -> None:
    context = new_client_context(house)
    openssl.use_groups(context, group)
    server, _, _ = shake_hands(house, context)
    assert server.get_group_name() == name


def test_unknown_groups_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="does not know the groups X25519:nonsense"):
        openssl.use_groups(SSL.Context(SSL.TLS_SERVER_METHOD), "X25519:nonsense")


def test_unknown_signature_algorithms_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="does not know the signature algorithms nonsense"):
        openssl.use_signatures(SSL.Context(SSL.TLS_SERVER_METHOD), "nonsense")


def test_the_callback_sees_each_link_and_always_the_leaf(house: House) -> None:
    seen: list[tuple[int, int, bytes]] = []

    def look(error: int, depth: int, encode_leaf: Callable[[], bytes]) -> int:
        seen.append((error, depth, encode_leaf()))
        return error

    handle = openssl.use_verify_callback(house.context._context, look)
    shake_hands(house, new_client_context(house))
    assert handle is not None
    assert seen == [(0, 1, house.alice.der), (0, 0, house.alice.der)]


def test_an_authority_that_is_not_self_signed_ends_a_chain(house: House) -> None:
    server, _, _ = shake_hands(house, new_client_context(house))
    verified = server.get_verified_chain(as_cryptography=True)
    assert verified == [house.alice.certificate, house.issuing.certificate]
