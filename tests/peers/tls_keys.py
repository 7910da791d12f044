"""The MSK of EAP-TLS computed from what the client logged, by the RFCs' formulas and without any exporter."""

import hmac
from hashlib import sha256, sha384
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tests.peers.eap_tls import Client


def compute_msk(client: Client, keylog: Path) -> bytes:
    """RFC 5216 2.3 for TLS 1.2, RFC 9190 2.3 for TLS 1.3."""
    cipher = client.tls.cipher()
    assert cipher is not None
    wide = cipher[0].endswith("SHA384")
    lines = [line.split() for line in keylog.read_text(encoding="ascii").splitlines() if not line.startswith("#")]
    secrets = {label: (bytes.fromhex(client_random), bytes.fromhex(secret)) for label, client_random, secret in lines}
    if client.tls.version() == "TLSv1.2":
        client_random, master_secret = secrets["CLIENT_RANDOM"]
        # Record header 5, handshake header 4, version 2, then 32 octets of server random (RFC 5246 7.4.1.3).
        server_random = client.first_flight[11:43]
        seed = b"client EAP encryption" + client_random + server_random
        return _expand_tls_12(master_secret, seed, wide=wide)
    _, exporter_secret = secrets["EXPORTER_SECRET"]
    digest = sha384 if wide else sha256
    label = b"EXPORTER_EAP_TLS_Key_Material"
    derived = _expand_label(exporter_secret, label, digest(b"").digest(), digest().digest_size, wide=wide)
    # The context is the EAP type, 13.
    return _expand_label(derived, b"exporter", digest(b"\x0d").digest(), 128, wide=wide)[:64]


def _expand_tls_12(secret: bytes, seed: bytes, *, wide: bool) -> bytes:
    """P_hash of RFC 5246 5."""
    digest = "sha384" if wide else "sha256"
    result, chained = b"", seed
    while len(result) < 64:
        chained = hmac.digest(secret, chained, digest)
        result += hmac.digest(secret, chained + seed, digest)
    return result[:64]


def _expand_label(secret: bytes, label: bytes, context: bytes, length: int, *, wide: bool) -> bytes:
    """HKDF-Expand-Label of RFC 8446 7.1."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(full),)) + full + bytes((len(context),)) + context
    return HKDFExpand(hashes.SHA384() if wide else hashes.SHA256(), length, info).derive(secret)
