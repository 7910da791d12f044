"""Keys made here, and the files a certificate comes in."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12

from evertunnel.pki.keys import PrivateKey, encode_private_key, generate_key

FILES = ("certificate.pem", "chain.pem", "root.pem", "device-authority.pem", "key.pem", "certificate.p12")


def make_request() -> tuple[str, PrivateKey]:
    """A fresh key and a request that proves it; no names, for none would be taken."""
    key = generate_key("p256")
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode(), key


def write_files(
    folder: Path,
    issued: Mapping[str, Any],
    authorities: Mapping[str, str],
    key: PrivateKey | None,
    *,
    for_device: bool = False,
    pkcs12_password: str | None,
) -> None:
    """Certificate, chain, root and, if it was made here, the key (mode 0600). Raises OSError.

    Devices have an authority of their own above them, and the root above the servers they meet.
    """
    above = [*issued["chain"], *([authorities["device"]] if for_device else []), authorities["root"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "certificate.pem").write_text(issued["pem"], encoding="ascii")
    (folder / "chain.pem").write_text("".join(issued["chain"]), encoding="ascii")
    (folder / "root.pem").write_text(authorities["root"], encoding="ascii")
    if for_device:
        (folder / "device-authority.pem").write_text(authorities["device"], encoding="ascii")
    if key is None:
        return
    _write_secret(folder / "key.pem", encode_private_key(key))
    if pkcs12_password is not None:
        data = pkcs12.serialize_key_and_certificates(
            b"evertunnel",
            key,
            x509.load_pem_x509_certificate(issued["pem"].encode()),
            [x509.load_pem_x509_certificate(pem.encode()) for pem in above],
            BestAvailableEncryption(pkcs12_password.encode()),
        )
        _write_secret(folder / "certificate.p12", data)


def _write_secret(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
