"""Asks the enrolment server: gets a short-lived certificate, and reports the device's posture."""

import base64
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.errors import AccessDeniedError, InvalidInputError, UnavailableError
from evertunnel.protocols.enrolment import build_signed_report, build_signed_text

_TIMEOUT_SECONDS = 15.0
_CODE_NEEDED = 401


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """The device's certificate and key, and the root it trusts, read from the folder `certificate issue` wrote."""

    certificate_der: bytes
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    root_file: Path


@dataclass(frozen=True, slots=True)
class ShortLivedCertificate:
    """PEM of key, certificate and chain. The key was made here and never left."""

    key_pem: str
    certificate_pem: str
    chain_pem: tuple[str, ...]


def load_device_identity(folder: Path) -> DeviceIdentity:
    """Read certificate.pem, key.pem and root.pem. Raises InvalidInputError."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)
        (folder / "root.pem").read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{error.filename} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{folder} holds no usable certificate and key: {error}") from error
    if not isinstance(key, (ec.EllipticCurvePrivateKey, rsa.RSAPrivateKey)):
        raise InvalidInputError(f"{folder / 'key.pem'}: a device key is ECDSA or RSA")
    return DeviceIdentity(certificate.public_bytes(Encoding.DER), key, folder / "root.pem")


def request_certificate(
    server_url: str,
    device: DeviceIdentity,
    user_name: str,
    password: str,
    *,
    address: str = "",
    ask_code: Callable[[], str] | None = None,
) -> ShortLivedCertificate:
    """Prove the device over this request, sign in, and get the certificate.

    With an `address` the server is reached there and must still prove the name in `server_url`. `ask_code` is called
    when the server asks for the code of the user's authenticator app; without it, that is a refusal.

    Raises AccessDeniedError with what the server tells outsiders, InvalidInputError, UnavailableError.
    """
    if not server_url.lower().startswith("https://"):
        raise InvalidInputError(f"{server_url} does not begin with https://, and a password goes to nothing else")
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    csr_der = request.public_bytes(Encoding.DER)
    with _open(server_url, device, address) as post:

        def ask(code: str) -> httpx2.Response:
            nonce = _decode(_read(post("/v1/nonces")), "nonce")
            signed = build_signed_text(nonce=nonce, user_name=user_name, csr_der=csr_der)
            body = {
                "user": user_name,
                "password": password,
                "csr": _encode(csr_der),
                "device_certificate": _encode(device.certificate_der),
                "device_signature": _encode(_sign(device, signed)),
                "nonce": _encode(nonce),
            }
            return post("/v1/short-lived-certificates", json=body | ({"code": code} if code else {}))

        response = ask("")
        if response.status_code == _CODE_NEEDED and ask_code is not None:
            response = ask(ask_code())
        answer = _read(response)
    return _build_certificate(answer, key)


def send_posture(
    server_url: str, device: DeviceIdentity, posture: Mapping[str, str | bool], *, address: str = ""
) -> None:
    """Report posture by fact name, signed by the device over this very report. `address` as in request_certificate.

    Raises AccessDeniedError, InvalidInputError, UnavailableError.
    """
    posture_json = json.dumps(posture).encode()
    with _open(server_url, device, address) as post:
        nonce = _decode(_read(post("/v1/nonces")), "nonce")
        signed = build_signed_report(nonce=nonce, posture_json=posture_json)
        body = {
            "posture": _encode(posture_json),
            "device_certificate": _encode(device.certificate_der),
            "device_signature": _encode(_sign(device, signed)),
            "nonce": _encode(nonce),
        }
        _read(post("/v1/posture-reports", json=body))


@contextmanager
def _open(server_url: str, device: DeviceIdentity, address: str) -> Iterator[Callable[..., httpx2.Response]]:
    """What posts to the server, which proves the name in its URL wherever it is reached. Raises UnavailableError."""
    try:
        tls = ssl.create_default_context(cafile=str(device.root_file))
        url = httpx2.URL(server_url)
        with httpx2.Client(
            base_url=url.copy_with(host=address) if address else url,
            headers={"Host": url.netloc.decode("ascii")},
            verify=tls,
            timeout=_TIMEOUT_SECONDS,
        ) as client:
            yield partial(client.post, extensions={"sni_hostname": url.host})
    except (httpx2.HTTPError, httpx2.InvalidURL, ssl.SSLError, OSError) as error:
        raise UnavailableError(f"{server_url} cannot be reached: {error}") from error


def _build_certificate(answer: Mapping[str, object], key: ec.EllipticCurvePrivateKey) -> ShortLivedCertificate:
    """What the server sent, if it is a certificate for the key made here."""
    chain = answer.get("chain")
    try:
        certificate = x509.load_der_x509_certificate(_decode(answer, "certificate"))
        below_root = [x509.load_der_x509_certificate(_decode({"chain": text}, "chain")) for text in _as_list(chain)]
    except ValueError as error:
        raise UnavailableError(f"the server sent a certificate that cannot be read: {error}") from error
    if certificate.public_key() != key.public_key():
        raise UnavailableError("the server sent a certificate for another key")
    return ShortLivedCertificate(
        key_pem=key.private_bytes(
            Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        certificate_pem=certificate.public_bytes(Encoding.PEM).decode(),
        chain_pem=tuple(authority.public_bytes(Encoding.PEM).decode() for authority in below_root),
    )


def _read(response: httpx2.Response) -> Mapping[str, object]:
    """A JSON object, or the error it stands for."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        found = {}
    if response.is_success:
        return found
    detail = found.get("detail")
    text = detail if isinstance(detail, str) else f"the server answered {response.status_code}"
    if response.status_code in (_CODE_NEEDED, 403):
        raise AccessDeniedError(text)
    raise (InvalidInputError if response.status_code == 422 else UnavailableError)(text)


def _decode(answer: Mapping[str, object], name: str) -> bytes:
    try:
        return base64.b64decode(str(answer[name]), validate=True)
    except (KeyError, ValueError):
        raise UnavailableError(f"the server's answer has no {name} that can be read") from None


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _sign(device: DeviceIdentity, signed: bytes) -> bytes:
    if isinstance(device.key, ec.EllipticCurvePrivateKey):
        return device.key.sign(signed, ec.ECDSA(hashes.SHA256()))
    return device.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
