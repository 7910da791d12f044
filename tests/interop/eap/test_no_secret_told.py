"""After logins of every kind, good and bad, against the real program: no secret stands in its log or its database.

Nobody writes a secret on purpose. What is looked for is the accident: a request in an error, a key in a story.
"""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyotp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from evertunnel.clock import now
from evertunnel.connector.enrolment import ShortLivedCertificate, load_device_identity, request_certificate
from evertunnel.errors import AccessDeniedError
from evertunnel.protocols.eap.mschapv2_keys import hash_password_nt
from tests.interop.eap.conftest import PUBLIC_NAME, Live, Wire
from tests.peers import accounting, radius
from tests.peers.certificates import Credential, PrivateKey, build_stolen_pem
from tests.peers.eap_tls import TLS_12, TLS_13, Client
from tests.peers.gateway import Answer, Gateway
from tests.peers.peap import InnerMSCHAPv2, MSCHAPv2Client, PEAPClient
from tests.peers.tls_keys import compute_msk

DAVE, LAPTOP = "markus@corp.example", "laptop9.corp.example"
PASSWORD, GUESS = "marker: dave's own password", "marker: a wrong password"
ERIN, WEAK_PASSWORD, WEAK_GUESS = "rita@corp.example", "marker: erin's own password", "marker: a guess at erin's"


class Secrets:
    """What may stand nowhere, by what it is."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}

    def add(self, what: str, secret: bytes) -> None:
        assert len(secret) >= 10, f"{what} is too short to be told from chance"
        self.found[what] = secret

    def add_key(self, what: str, key: PrivateKey) -> None:
        """What cannot be computed from the certificate: d, or a prime."""
        if isinstance(key, ec.EllipticCurvePrivateKey):
            self.add(what, key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big"))
        else:
            self.add(what, key.private_numbers().p.to_bytes(key.key_size // 16, "big"))

    def add_pem(self, what: str, pem: bytes) -> None:
        key = load_pem_private_key(pem, password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        self.add_key(what, key)
        self.add(f"{what}, as PEM", pem.splitlines()[1])

    def find_in(self, data: bytes) -> list[str]:
        """Which of them stand in it, in any of the ways a program writes octets."""
        lower = data.lower()
        return [
            what
            for what, secret in self.found.items()
            if secret in data
            or secret.hex().encode() in lower
            or json.dumps(secret.decode("latin-1"))[1:-1].encode() in data
            or repr(secret)[2:-1].encode() in data
            or any(encode(secret).rstrip(b"=")[:-1] in data for encode in (base64.b64encode, base64.urlsafe_b64encode))
        ]


@pytest.fixture
def secrets(live: Live) -> Secrets:
    """Those of the installation: every file of the keys folder."""
    found = Secrets()
    for path in sorted(file for file in (live.state.path / "keys").rglob("*") if file.is_file()):
        data, what = path.read_bytes(), str(path.relative_to(live.state.path))
        if b"PRIVATE KEY" in data:
            found.add_pem(what, data)
        elif b"CERTIFICATE" not in data and len(data) >= 16:
            found.add(what, data.strip())
    assert len(found.found) > 5
    found.add("the secret of gw1", live.secret)
    return found


def test_secrets_stand_neither_in_the_log_nor_in_the_database(
    live: Live, secrets: Secrets, new_wire: Callable[..., Wire], tmp_path: Path
) -> None:
    issued = sign_in(live, secrets)
    pem = (issued.key_pem + issued.certificate_pem + "".join(issued.chain_pem)).encode()
    key = load_pem_private_key(issued.key_pem.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stolen = build_stolen_pem(Credential(x509.load_pem_x509_certificate(issued.certificate_pem.encode()), key))
    wire = new_wire()
    for version in (TLS_12, TLS_13):
        for name, tried in (("good", pem), ("stolen", stolen), ("none", None)):
            keylog = tmp_path / f"{name}-{version}.keys"
            client = Client(
                root_pem=live.root_file.read_bytes(), pem=tried, identity=DAVE, version=version, keylog=keylog,
                server_name=PUBLIC_NAME,
            )  # fmt: skip
            accept = log_in(Gateway(live.secret, wire.carry), client)
            for line in keylog.read_bytes().splitlines():
                if not line.startswith(b"#"):
                    label, _, secret = line.split()
                    secrets.add(f"{label.decode()} of the {name} login", bytes.fromhex(secret.decode()))
            assert (accept is not None) == (name == "good")
            if accept is not None:
                assert accept.session_keys == compute_msk(client, keylog)
                secrets.add(f"MSK, received with, {version}", accept.session_keys[:32])
                secrets.add(f"MSK, sent with, {version}", accept.session_keys[32:])
                count(live, new_wire(port="accounting"), accept)
    log_in_with_passwords(live, secrets, wire)
    send_under_a_wrong_secret(wire, secrets)
    told = {path: path.read_bytes() for path in list_told(live)}
    assert any(DAVE.encode() in data for path, data in told.items() if path.suffix == ".db" or "-wal" in path.name)
    assert {str(path): found for path, data in told.items() if (found := secrets.find_in(data))} == {}


def sign_in(live: Live, secrets: Secrets) -> ShortLivedCertificate:
    """Dave, with an app, after a wrong password and a wrong code."""
    live.run("user", "add", DAVE, "--password", password=PASSWORD)
    live.run("device", "add", LAPTOP)
    live.run("device", "assign", LAPTOP, DAVE)
    live.run("device", "report", LAPTOP, "--compliant")
    live.run("group", "join", "Short-lived", "--user", DAVE)
    live.run("certificate", "issue", "--device", LAPTOP, "--out", str(live.files / "laptop9"))
    app = pyotp.TOTP(json.loads(live.run("user", "totp", "add", DAVE, "--json"))["secret"])
    # A code is right in its step and the one after, so for half a minute at least, and its step is used up by it.
    used = app.timecode(now())
    live.run("user", "totp", "confirm", DAVE, password=app.generate_otp(used))
    device = load_device_identity(live.files / "laptop9")
    url = f"https://{PUBLIC_NAME}:{live.ports['https']}"
    for password, code in ((GUESS, ""), (PASSWORD, "000000x")):
        with pytest.raises(AccessDeniedError):
            request_certificate(url, device, DAVE, password, ask_code=lambda code=code: code)

    def show_code() -> str:
        return str(app.generate_otp(max(used + 1, app.timecode(now()))))

    issued = request_certificate(url, device, DAVE, PASSWORD, ask_code=show_code)
    secrets.add("the secret of the app", app.byte_secret())
    secrets.add("the secret of the app, as it is typed", app.secret.encode())
    secrets.add("the password", PASSWORD.encode())
    secrets.add("a wrong password", GUESS.encode())
    secrets.add_pem("the key of the short-lived certificate", issued.key_pem.encode())
    secrets.add_key("the device's key", device.key)
    return issued


def log_in_with_passwords(live: Live, secrets: Secrets, wire: Wire) -> None:
    """EAP-MSCHAPv2 alone and inside PEAP, with a password that is right, and that is not."""
    live.run("policy", "mschapv2", "--on", "--accept-weakness")
    live.run("user", "add", ERIN, "--password", password=WEAK_PASSWORD)
    methods = ["--method", "peap-eap-mschapv2", "--method", "eap-mschapv2"]
    live.run("policy", "network", "add", "Weak", "--grant", "--tunnel", "user", "--user", ERIN, *methods)
    root = x509.load_pem_x509_certificate(live.root_file.read_bytes())
    for password in (WEAK_PASSWORD, WEAK_GUESS):
        secrets.add(f"a password, {password}", password.encode())
        secrets.add(f"the NT hash of {password}", hash_password_nt(password))
        alone, inside = InnerMSCHAPv2(ERIN, password), InnerMSCHAPv2(ERIN, password)
        tunnelled = PEAPClient(root, inside, identity=ERIN)
        bare = MSCHAPv2Client(alone, identity=ERIN)
        for client in (tunnelled, bare):
            accept = log_in(Gateway(live.secret, wire.carry), client)
            assert (accept is not None) == (password == WEAK_PASSWORD)
            if accept is not None:
                keys = accept.session_keys
                secrets.add(f"keys of {type(client).__name__}, received with", keys[: len(keys) // 2])
                secrets.add(f"keys of {type(client).__name__}, sent with", keys[len(keys) // 2 :])
        for key in (alone.key, inside.key):
            secrets.add(f"keys that {password} makes, {key.hex()}", key)
        for secret in tunnelled.tls.secrets:
            secrets.add(f"of a tunnel, {secret.decode()}", bytes.fromhex(secret.decode()))
    live.run("policy", "network", "remove", "Weak", "--cut")
    live.run("policy", "mschapv2", "--off", "--cut")


def log_in(gateway: Gateway, client: Client | PEAPClient | MSCHAPv2Client) -> Answer | None:
    """The Accept, or None."""
    answer = gateway.log_in(client)
    assert answer.code in (radius.ACCEPT, radius.REJECT)
    return answer if answer.code == radius.ACCEPT else None


def count(live: Live, wire: Wire, accept: Answer) -> None:
    """The gateway's Accounting-Request of the session."""
    (class_,) = accept.packet[radius.CLASS]
    request = accounting.build(live.secret, accounting.START, "9-9", class_=class_, user=DAVE)
    answer = wire.carry(request)
    assert answer is not None
    accounting.read_answer(live.secret, request, answer)


def send_under_a_wrong_secret(wire: Wire, secrets: Secrets) -> None:
    wrong = b"marker: a secret of another gateway"
    secrets.add("a wrong secret", wrong)
    wire.send(radius.build_request(wrong, radius.split_eap(bytes(10))))


def list_told(live: Live) -> Iterator[Path]:
    """The log and every file of the state folder but keys, and strongSwan's own, which holds its RADIUS secret."""
    yield live.log_file
    kept = {live.state.path / "keys", live.state.path / "gateways"}
    for path in live.state.path.rglob("*"):
        if path.is_file() and not kept & set(path.parents):
            yield path


def test_a_secret_that_is_told_is_found() -> None:
    secrets = Secrets()
    secrets.add("it", b"marker: \x00\xff\"'binary")
    ways: list[bytes] = [
        secrets.found["it"], secrets.found["it"].hex().encode(), repr(secrets.found["it"]).encode(),
        base64.b64encode(secrets.found["it"]), json.dumps(secrets.found["it"].decode("latin-1")).encode(),
    ]  # fmt: skip
    assert [secrets.find_in(b"before " + way + b" after") for way in ways] == [["it"]] * len(ways)
    assert secrets.find_in(b"nothing") == []
