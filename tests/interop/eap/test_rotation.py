"""The access authority rotated on a real `evertunnel serve`: its commands, its signer, and real supplicants."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from evertunnel.restore import restore
from evertunnel.state_folder import StateFolder
from tests.interop.eap.conftest import ALICE, Live, running_live
from tests.interop.eap.eapol import TLS_12, TLS_13, Supplicant
from tests.peers.certificates import Credential, build_authority, build_leaf

SID = "S-1-5-21-1004336348-1177238915-682003330-1104"
PASSPHRASE = "correct horse battery"
COMMAND = ("certificate", "access-authority")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with running_live() as made:
        yield made


def list_states(live: Live) -> dict[str, str]:
    return {row["name"]: row["state"] for row in json.loads(live.run(*COMMAND, "list", "--json"))}


def read_chain(pem: bytes) -> tuple[x509.Certificate, x509.Certificate]:
    leaf, issuer = x509.load_pem_x509_certificates(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    return leaf, issuer


def log_in(live: Live, supplicant: Supplicant, pem: bytes) -> list[str]:
    """The reasons recorded for a login with either version of TLS."""
    for version in (TLS_12, TLS_13):
        supplicant.log_in(pem, ALICE, version=version)
    return [attempt["reason"] for attempt in live.list_attempts(2)]


def forge(live: Live, authority: str) -> bytes:
    """A certificate that a thief of an access authority's key made."""
    key = live.state.keystore.load_key("signer", authority)
    pem = json.loads(live.run(*COMMAND, "show", authority, "--json"))["pem"]
    return build_leaf(Credential(x509.load_pem_x509_certificate(pem.encode()), key), ALICE).pem


def test_one_is_created_downloaded_activated_and_the_old_one_distrusted(
    live: Live, supplicant: Supplicant, tmp_path: Path
) -> None:
    old = live.enrol()
    assert log_in(live, supplicant, old) == ["granted"] * 2
    created = json.loads(live.run(*COMMAND, "create", "--lifetime-days", "365", "--json"))
    assert (created["name"], created["state"], created["key"]) == ("access-2", "staged", "online")
    assert list_states(live) == {"access": "active", "access-2": "staged"}
    assert read_chain(live.enrol())[1] == read_chain(old)[1]

    made = download(live, tmp_path, created)
    # Trusted already, and yet what it signed before it may sign counts for nothing.
    assert log_in(live, supplicant, forge(live, "access-2")) == ["certificate_unknown"] * 2
    text = live.run(*COMMAND, "show", created["sha1"].upper())
    assert created["sha256"] in text and " ".join(created["sha1"][at : at + 2] for at in range(0, 40, 2)) in text
    names = {row["name"]: row["key"] for row in json.loads(live.run("certificate", "authority", "list", "--json"))}
    assert names["access-2"] == "online"

    live.run("user", "change", ALICE, "--sid", SID)
    assert "signs from now on" in live.run(*COMMAND, "activate", "access-2")
    new = live.enrol()
    leaf, issuer = read_chain(new)
    assert issuer == made
    assert (
        SID.encode() in leaf.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.4.1.311.25.2")).value.value
    )
    assert [log_in(live, supplicant, pem) for pem in (old, new)] == [["granted"] * 2] * 2
    assert log_in(live, supplicant, forge(live, "access")) == ["certificate_unknown"] * 2

    foreign = build_leaf(build_authority(str(next(iter(made.subject)).value)), ALICE).pem
    assert log_in(live, supplicant, foreign) == ["certificate_foreign"] * 2

    assert "2 certificates are revoked" in live.run(*COMMAND, "retire", "access", "--distrust")
    assert log_in(live, supplicant, old) == ["certificate_revoked"] * 2
    assert log_in(live, supplicant, forge(live, "access")) == ["certificate_foreign"] * 2
    assert log_in(live, supplicant, new) == ["granted"] * 2
    assert list_states(live) == {"access": "distrusted", "access-2": "active"}
    records = [row["name"] for row in json.loads(live.run("audit", "list", "--json"))]
    for name in ("create", "activate", "distrust"):
        assert f"access-authority:{name}" in records
    live.run("audit", "verify")


def download(live: Live, folder: Path, created: dict[str, str]) -> x509.Certificate:
    """In every format, as other readers take it; returns the certificate."""
    name = created["name"]
    for kind in ("pem", "der", "pkcs7"):
        live.run(*COMMAND, "show", name, "--format", kind, "--out", str(folder / kind))
    made = x509.load_der_x509_certificate((folder / "der").read_bytes())
    assert x509.load_pem_x509_certificate((folder / "pem").read_bytes()) == made
    together = pkcs7.load_der_pkcs7_certificates((folder / "pkcs7").read_bytes())
    assert made in together and len(together) == 2
    command = ["openssl", "x509", "-inform", "der", "-in", str(folder / "der"), "-noout", "-fingerprint", "-sha1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip().rpartition("=")[2].replace(":", "").lower() == created["sha1"]
    assert made.fingerprint(hashes.SHA256()).hex() == created["sha256"]
    return made


def test_a_wrong_step_is_one_line(live: Live, tmp_path: Path) -> None:
    active = next(name for name, state in list_states(live).items() if state == "active")
    for arguments, words in (
        (("activate", active), "is the active access authority already"),
        (("retire", active), "activate another one first"),
        (("retire", active, "--distrust"), "activate another one first"),
        (("activate", "access-77"), "there is no access authority 'access-77'"),
        (("show", "nothing"), "there is no access authority 'nothing'"),
        (("create", "--name", "x" * 65), "at most 64 bytes"),
        (("show", active, "--out", str(tmp_path)), "is there already"),
    ):
        done = subprocess.run(live.build_command(*COMMAND, *arguments), capture_output=True, text=True, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert words in done.stderr
    done = subprocess.run(
        live.build_command("user", "change", ALICE, "--sid", "S-1-5-18"), capture_output=True, text=True, check=False
    )
    assert "is not the security identifier of an account" in done.stderr


def test_without_the_root_none_is_made_and_everything_else_goes_on(live: Live, supplicant: Supplicant) -> None:
    away = live.files / "root.pem"
    live.run("certificate", "authority", "offline", "root", "--out", str(away), password=PASSPHRASE)
    before = list_states(live)
    done = subprocess.run(live.build_command(*COMMAND, "create"), capture_output=True, text=True, check=False)
    assert (done.returncode, "root's key" in done.stderr, len(done.stderr.splitlines())) == (1, True, 1)
    assert list_states(live) == before
    assert log_in(live, supplicant, live.enrol()) == ["granted"] * 2
    live.run("certificate", "authority", "online", "root", "--in", str(away), password=PASSPHRASE)
    live.run(*COMMAND, "create")


def test_a_backup_carries_the_keys_of_all(live: Live) -> None:
    names = [row["name"] for row in json.loads(live.run(*COMMAND, "list", "--json"))]
    assert len(names) > 1
    out = live.files / "backup.tar"
    live.run("backup", "--out", str(out), "--with-keys", password=PASSPHRASE)
    target = StateFolder(live.files.parent / "restored")
    restore(out, target, lambda: PASSPHRASE, actor="ann", user_base=61_700)
    for name in names:
        own = live.state.keystore.load_key("signer", name)
        assert target.keystore.load_key("signer", name).public_key() == own.public_key()
        listed = json.loads(live.run(*COMMAND, "show", name, "--json"))
        certificate = x509.load_pem_x509_certificate(listed["pem"].encode())
        assert certificate.public_key() == own.public_key()
        assert certificate.public_bytes(Encoding.PEM).decode() == listed["pem"]
