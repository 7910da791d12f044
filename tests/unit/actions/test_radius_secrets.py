"""Secrets that are made, given, rotated; gateways of other makes; and which certificates speak for them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.actions.add_foreign_gateway import ForeignGateway, add_foreign_gateway, verify_disconnect
from evertunnel.actions.change_gateway import GatewayChange, change_gateway
from evertunnel.actions.change_radsec import end_radsec, trust_radsec_certificate
from evertunnel.actions.radius_secrets import NewSecret, find_weakness, finish_rotation, make_secret, rotate_secret
from evertunnel.actions.remove_gateway import remove_gateway
from evertunnel.errors import AlreadyExistsError, InvalidInputError
from evertunnel.model import CertificateKind
from evertunnel.storage import gateways
from evertunnel.storage.gateways import disconnect_secret_context, radius_secret_context
from evertunnel.storage.tables import AnyRow
from tests.installation import Installation
from tests.peers.certificates import SERVER, build_authority, build_leaf


def seal(installation: Installation) -> Any:
    return lambda secret, context: installation.keystore.seal(secret, context=context)


def add(installation: Installation, name: str = "other", address: str = "192.0.2.0/24", **more: Any) -> NewSecret:
    made: NewSecret = installation.do(
        add_foreign_gateway, ForeignGateway(name, address, **more), seal=seal(installation)
    )
    return made


def get(installation: Installation, name: str = "other") -> AnyRow:
    with installation.store.read() as connection:
        return gateways.get_gateway(connection, name)


def unseal(installation: Installation, sealed: bytes, name: str = "other") -> str:
    return installation.keystore.unseal(sealed, context=radius_secret_context(get(installation, name).id)).decode()


def rotate(installation: Installation, name: str = "other", **more: Any) -> NewSecret:
    made: NewSecret = installation.do(rotate_secret, name, seal=seal(installation), **more)
    return made


def use(installation: Installation, *positions: int) -> None:
    installation.clock.forward(seconds=1)
    with installation.store.write(installation.now) as tx:
        gateways.note_secrets_used(tx, {get(installation).id: set(positions)})


def test_a_secret_that_is_made_is_long_and_strong_and_fits_anywhere() -> None:
    made = {make_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch("[a-z2-7]{52}", each) and not find_weakness(each) for each in made)


@pytest.mark.parametrize(
    "secret",
    ["", "testing123", "short-one-15-ch", "a" * 40, "abcdefghijklmnopqrstuvwxyz", "0123456789012345678901234567",
     "RadiusSharedSecret2024", "passwordpasswordpassword", "12121212121212121212121212",
     "Summer2024!Summer2024!Summer", "Zx9!Zx9!Zx9!Zx9!Zx9!Zx9!"],
)  # fmt: skip
def test_a_weak_one_is_called_so(secret: str) -> None:
    assert find_weakness(secret)


@pytest.mark.parametrize(
    "secret", ["w8#Qz!rT5vLp0&cK2mXd9", "correct-horse-battery-staple-41", "4f9c1e7ab83d20566ef1d9aa"]
)
def test_a_good_one_is_not(secret: str) -> None:
    assert find_weakness(secret) == ""


@pytest.mark.parametrize("secret", ["", "radsec", "RADSEC", "with\nline", "ümlaut-and-more-of-it", "x" * 129])
def test_what_cannot_be_a_secret_is_refused(installation: Installation, secret: str) -> None:
    with pytest.raises(InvalidInputError, match="the secret: "):
        add(installation, secret=secret)


def test_it_is_kept_sealed_and_in_no_record(installation: Installation) -> None:
    made = add(installation, disconnect="192.0.2.7", disconnect_secret="another one of its own")
    row = get(installation)
    assert unseal(installation, row.radius_secret_sealed) == made.text
    assert row.disconnect_address == "192.0.2.7:3799"
    own = installation.keystore.unseal(row.disconnect_secret_sealed, context=disconnect_secret_context(row.id))
    assert own == b"another one of its own"
    rotated = rotate(installation)
    octets = b"".join(path.read_bytes() for path in installation.keystore._state_folder.rglob("*.db*"))
    octets += str(installation.store.engine.url).encode()
    assert octets
    for secret in (made.text, rotated.text, "another one of its own"):
        assert secret.encode() not in octets


def test_a_weak_one_is_taken_and_told(installation: Installation) -> None:
    assert add(installation, secret="testing123").weakness
    assert get(installation).secret_weakness
    assert rotate(installation).weakness == ""
    assert get(installation).secret_weakness == ""


def test_two_count_until_the_rotation_is_finished(installation: Installation) -> None:
    before = add(installation)
    after = rotate(installation)
    row = get(installation)
    assert unseal(installation, row.radius_secret_sealed) == after.text
    assert unseal(installation, row.previous_secret_sealed) == before.text
    with pytest.raises(AlreadyExistsError, match="is being rotated since"):
        rotate(installation)
    with pytest.raises(InvalidInputError, match="nobody has used the new one yet"):
        installation.do(finish_rotation, "other")
    use(installation, 0)
    use(installation, 1)
    with pytest.raises(InvalidInputError, match="the old one was used last"):
        installation.do(finish_rotation, "other")
    use(installation, 0, 1)  # two servers of one network, of which one was changed
    with pytest.raises(InvalidInputError, match="the old one was used last"):
        installation.do(finish_rotation, "other")
    use(installation, 0)
    installation.do(finish_rotation, "other")
    assert get(installation).previous_secret_sealed is None
    with pytest.raises(InvalidInputError, match="is not being rotated"):
        installation.do(finish_rotation, "other")


def test_it_can_be_forced(installation: Installation) -> None:
    add(installation)
    rotate(installation)
    installation.do(finish_rotation, "other", force=True)
    assert get(installation).previous_secret_sealed is None


def test_rotating_all_secrets_of_a_gateway_of_ours_lets_none_of_before_count(installation: Installation) -> None:
    installation.add_gateway()
    rotate(installation, "gw1")
    installation.do(finish_rotation, "gw1", force=True)
    with pytest.raises(InvalidInputError, match="told its secret by us"):
        rotate(installation, "gw1", given="w8#Qz!rT5vLp0&cK2mXd9")
    rotate(installation, "gw1")
    installation.do(change_gateway, "gw1", GatewayChange(), rotate=True, seal=seal(installation))
    row = get(installation, "gw1")
    assert (row.secret_rotated_at, row.secret_used_at, row.previous_secret_used_at) == (None, None, None)
    assert get(installation, "gw1").previous_secret_sealed is None


@pytest.mark.parametrize(
    "address", ["", "example.org", "192.0.2.1/24", "0.0.0.0/0", "10.0.0.0/7", "::/0", "fe80::1%eth0", "192.0.2.0/33"]
)
def test_an_address_that_cannot_be_is_refused(installation: Installation, address: str) -> None:
    with pytest.raises(InvalidInputError, match="--address: "):
        add(installation, address=address)


def test_networks_may_lie_in_each_other_and_not_be_the_same(installation: Installation) -> None:
    add(installation)
    add(installation, "inner", "192.0.2.0/28")
    add(installation, "one", "192.0.2.1/32")
    assert get(installation, "one").radius_address == "192.0.2.1"
    with pytest.raises(AlreadyExistsError):
        add(installation, "again", "192.0.2.0/24")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("", ""), ("192.0.2.7", "192.0.2.7:3799"), ("192.0.2.7:1700", "192.0.2.7:1700"),
     ("2001:db8::7", "[2001:db8::7]:3799"), ("[2001:db8::7]", "[2001:db8::7]:3799"),
     ("[2001:DB8::7]:1700", "[2001:db8::7]:1700")],
)  # fmt: skip
def test_where_requests_go_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert verify_disconnect(given) == kept


@pytest.mark.parametrize("given", ["gw.example.org", "192.0.2.7:0", "192.0.2.7:x", "0.0.0.0", "224.0.0.1", ":3799"])
def test_where_nobody_can_be_asked_is_refused(given: str) -> None:
    with pytest.raises(InvalidInputError, match="--disconnect: "):
        verify_disconnect(given)


def test_what_only_our_strongswan_has_is_refused_for_others(installation: Installation) -> None:
    add(installation)
    for change in (GatewayChange(user_pool="10.9.0.0/16"), GatewayChange(vici_socket="/x"), GatewayChange(encap=True)):
        with pytest.raises(InvalidInputError, match="no strongSwan of ours"):
            installation.do(change_gateway, "other", change, seal=seal(installation))
    installation.do(
        change_gateway, "other", GatewayChange(radius_address="198.51.100.7", disconnect="198.51.100.7:1700"),
        seal=seal(installation),
    )  # fmt: skip
    assert get(installation).radius_address == "198.51.100.7"
    assert get(installation).disconnect_address == "198.51.100.7:1700"


def test_over_radsec_alone_there_is_no_secret(installation: Installation) -> None:
    assert add(installation, address="radsec").text == ""
    assert gateways.read_gateway(get(installation)).radius_address == ""
    with pytest.raises(InvalidInputError, match="RadSec alone"):
        rotate(installation)
    with pytest.raises(InvalidInputError, match="asks over RadSec alone"):
        installation.do(end_radsec, "other")
    with pytest.raises(InvalidInputError, match="--ask-disconnect-secret"):
        add(installation, "third", "radsec", disconnect="192.0.2.9")
    nobody_knows = GatewayChange(disconnect="192.0.2.9")
    with pytest.raises(InvalidInputError, match="--ask-disconnect-secret"):
        installation.do(change_gateway, "other", nobody_knows, seal=seal(installation))
    own = GatewayChange(disconnect_secret="another one of its own")
    for change in (GatewayChange(disconnect=""), own, nobody_knows):
        installation.do(change_gateway, "other", change, seal=seal(installation))
    assert get(installation).disconnect_address == "192.0.2.9:3799"
    installation.do(remove_gateway, "other")


def test_a_certificate_of_others_is_taken_by_itself_and_only_if_it_can_be_a_clients(installation: Installation) -> None:
    add(installation)
    add(installation, "second", "192.0.3.0/24")
    authority = build_authority("Foreign")
    good = build_leaf(authority, "proxy.example.org").certificate.public_bytes(Encoding.PEM)
    installation.clock.moment = build_leaf(authority, "x").certificate.not_valid_before_utc + timedelta(minutes=61)
    wrong = {
        "not a certificate": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "is an authority": authority.certificate.public_bytes(Encoding.PEM),
        "may not be used": build_leaf(authority, "x", usages=SERVER).certificate.public_bytes(Encoding.PEM),
        "ended at": build_leaf(authority, "x", ends=-timedelta(minutes=1)).certificate.public_bytes(Encoding.PEM),
        "too long": good * 1_000,
    }
    keys: list[Any] = [Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 1024)]
    for key in keys:  # our side of TLS takes neither
        pem = build_leaf(authority, "x", key=key).certificate.public_bytes(Encoding.PEM)
        with pytest.raises(InvalidInputError, match="must be ECDSA P-256 or P-384, or RSA of 2,048"):
            installation.do(trust_radsec_certificate, "other", pem)
    for problem, pem in wrong.items():
        with pytest.raises(InvalidInputError, match=problem):
            installation.do(trust_radsec_certificate, "other", pem)
    issued = installation.issue(CertificateKind.RADSEC, "other", gateway_id=get(installation).id)
    ours = x509.load_der_x509_certificate(issued.certificate_der).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidInputError, match="one of ours"):  # or it would count for another, or once revoked
        installation.do(trust_radsec_certificate, "second", ours)
    installation.do(trust_radsec_certificate, "other", good)
    with pytest.raises(AlreadyExistsError, match="gateway other's already"):
        installation.do(trust_radsec_certificate, "second", good)
    installation.do(end_radsec, "other")
    assert get(installation).radsec_certificate_der is None
