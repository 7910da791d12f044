"""The alert access_denied, read by OpenSSL and opened with the keys of RFC 8448."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from evertunnel.protocols.eap.access_denied import encode_plain_alert, encode_sealed_alert
from evertunnel.protocols.eap.tls_server import TLSHandshake
from tests.unit.protocols.eap.conftest import House

# RFC 8448 3: server_application_traffic_secret_0, and key and iv that are derived from it.
SECRET = bytes.fromhex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643")
KEY, IV = bytes.fromhex("9f02283b6c9c07efc26bb9f2ac92e356"), bytes.fromhex("cf782b88dd83549aadf1e984")
SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]


def finish_handshake(house: House, suite: str) -> tuple[TLSHandshake, SSL.Connection]:
    """TLS 1.3 with one cipher suite, up to the client's Finished; what the server would send next is not sent."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_tls13_ciphersuites(suite.encode())
    context.use_certificate(house.alice.certificate)
    context.use_privatekey(house.alice.key)
    client = SSL.Connection(context, None)
    client.set_connect_state()
    server = house.context.new_handshake()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    client.bio_write(server.receive(client.bio_read(65_536)))
    client.do_handshake()
    server.receive(client.bio_read(65_536))
    assert client.get_cipher_name() == suite
    return server, client


def test_the_plain_alert_is_that_of_rfc_5246() -> None:
    assert encode_plain_alert() == bytes.fromhex("1503030002" + "0231")


def test_the_sealed_alert_opens_with_the_keys_of_rfc_8448() -> None:
    record = encode_sealed_alert("TLS_AES_128_GCM_SHA256", SECRET)
    header, sealed = record[:5], record[5:]
    assert header == bytes.fromhex("1703030013")
    assert AESGCM(KEY).decrypt(IV, sealed, header) == bytes.fromhex("023115")


def test_an_unknown_cipher_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        encode_sealed_alert("TLS_SM4_GCM_SM3", SECRET)


@pytest.mark.parametrize("suite", SUITES)
def test_openssl_reads_the_sealed_alert_of_every_suite(house: House, suite: str) -> None:
    server, client = finish_handshake(house, suite)
    client.bio_write(server.encode_access_denied())
    with pytest.raises(SSL.Error, match="access denied"):
        client.recv(16)
