"""OpenSSL's own tools against the real server: chains, purposes, revocation lists, OCSP and PKCS#12."""

import base64
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from evertunnel.cli.certificate_files import make_request
from evertunnel.connector.enrolment import load_device_identity, request_certificate
from evertunnel.pki.keys import encode_private_key
from tests.interop.server import Server, wait_for

ALICE = "alice@corp.example"
LAPTOP = "laptop1.corp.example"
PASSWORD = "correct horse"


def openssl(*arguments: str | Path, stdin: str = "") -> str:
    """Standard output and error of an openssl command, whatever its exit code."""
    done = subprocess.run(
        ["openssl", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=30, check=False
    )
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Files:
    """A folder with the authorities, one certificate of each kind and our revocation lists."""

    server: Server
    folder: Path

    def path(self, name: str) -> Path:
        """A file."""
        return self.folder / name

    def fetch(self, path: str) -> bytes:
        """What the public server answers over plain HTTP."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.server.http}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def verify(self, name: str, *options: str, root: str = "root") -> str:
        """`openssl verify` of a certificate below its authorities, with both revocation lists as they are now."""
        for authority in ("root", "issuing"):
            der = self.path(f"{authority}.crl")
            der.write_bytes(self.fetch(f"/crl/{authority}.crl"))
            openssl("crl", "-inform", "DER", "-in", der, "-out", self.path(f"{authority}.crl.pem"))
        below = [word for one in ("issuing", "access") for word in ("-untrusted", self.path(f"{one}-authority.pem"))]
        lists = [word for one in ("root", "issuing") for word in ("-CRLfile", self.path(f"{one}.crl.pem"))]
        anchor = self.path(f"{root}-authority.pem")
        return openssl("verify", "-CAfile", anchor, *below, *lists, *options, self.path(f"{name}.pem"))

    def ask(self, *options: str, about: tuple[str, ...] = (), authority: str = "issuing", digest: str = "sha1") -> str:
        """`openssl ocsp` over POST, the answer verified down from the root."""
        return openssl(
            "ocsp", f"-{digest}", "-issuer", self.path(f"{authority}-authority.pem"),
            *(about or ("-cert", str(self.path("user.pem")))), "-CAfile", self.path("root-authority.pem"),
            "-url", f"http://127.0.0.1:{self.server.http}/ocsp/issuing", *options,
        )  # fmt: skip


def issue(server: Server, folder: Path, kind: str, name: str) -> str:
    """A certificate for a fresh key, with the files the connector reads; returns its id."""
    request, key = make_request()
    made = server.api("POST", "/certificates", {"kind": kind, "owner": name, "csr": request}).json()
    (folder / f"{kind}.pem").write_text(made["pem"])
    identity = folder / f"{kind}-folder"
    identity.mkdir(exist_ok=True)
    (identity / "certificate.pem").write_text(made["pem"])
    (identity / "key.pem").write_bytes(encode_private_key(key))
    (identity / "root.pem").write_text((folder / "root-authority.pem").read_text())
    return str(made["id"])


def make_files(server: Server) -> Files:
    """People, policies, and one certificate of each kind."""
    folder = server.folder / "files"
    folder.mkdir()
    for row in server.api("GET", "/authorities").json():
        (folder / f"{row['name']}-authority.pem").write_text(row["pem"])
    server.api("POST", "/users", {"name": ALICE, "password": PASSWORD})
    server.api("POST", "/devices", {"name": LAPTOP})
    server.api("PUT", f"/devices/{LAPTOP}/users/{ALICE}")
    server.api("POST", f"/devices/{LAPTOP}/reports", {"compliant": True})
    server.api("POST", "/policies/usual")
    issue(server, folder, "user", ALICE)
    issue(server, folder, "device", LAPTOP)
    identity = load_device_identity(folder / "device-folder")
    made = request_certificate(f"https://localhost:{server.https}", identity, ALICE, PASSWORD)
    (folder / "short-lived.pem").write_text(made.certificate_pem)
    return Files(server, folder)


@pytest.fixture(scope="module")
def files(server: Server) -> Files:
    """Made once; tests that take something away give it back."""
    return make_files(server)


@pytest.fixture
def denied(files: Files) -> Iterator[Files]:
    """While Alice is denied."""
    files.server.api("POST", "/denials", {"kind": "user", "name": ALICE, "reason": "test"})
    yield files
    files.server.api("DELETE", f"/denials/user/{ALICE}")
    wait_for(lambda: "OK" in files.verify("user", "-crl_check_all"))


@pytest.mark.parametrize("name", ["user", "short-lived"])
def test_a_certificate_verifies_below_the_root(files: Files, name: str) -> None:
    assert files.verify(name) == f"{files.path(name)}.pem: OK\n"


def test_a_device_verifies_below_its_own_authority_and_not_below_the_root(files: Files) -> None:
    assert files.verify("device", root="device").endswith("device.pem: OK\n")
    assert "unable to get local issuer certificate" in files.verify("device")


@pytest.mark.parametrize("name", ["user", "short-lived"])
def test_nothing_but_devices_verifies_below_the_device_authority(files: Files, name: str) -> None:
    assert "unable to get local issuer certificate" in files.verify(name, root="device")


@pytest.mark.parametrize(("name", "root"), [("user", "root"), ("short-lived", "root"), ("device", "device")])
def test_clients_are_clients_and_never_servers(files: Files, name: str, root: str) -> None:
    assert files.verify(name, "-purpose", "sslclient", root=root).endswith("OK\n")
    for purpose in ("sslserver", "smimesign", "timestampsign"):
        assert "unsuitable certificate purpose" in files.verify(name, "-purpose", purpose, root=root)


def test_our_https_server_shows_a_chain_that_verifies_and_speaks_no_old_tls(files: Files) -> None:
    connect = ("s_client", "-connect", f"127.0.0.1:{files.server.https}", "-brief")
    verified = openssl(*connect, "-CAfile", files.path("root-authority.pem"), "-verify_return_error",
                       "-verify_hostname", "localhost", stdin="Q\n")  # fmt: skip
    assert "Verification: OK" in verified and "Verified peername: localhost" in verified
    for version in ("-tls1", "-tls1_1"):
        assert "CONNECTION ESTABLISHED" not in openssl(*connect, version, "-cipher", "ALL:@SECLEVEL=0", stdin="Q\n")


def forge(files: Files, authority: str, usage: str) -> str:
    """A certificate signed with an authority's own key by somebody who stole it; verified as a server's."""
    key = files.server.state / "keys" / "signer" / f"{authority}.pem"
    folder = files.folder
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "forged.key", "-subj", "/CN=localhost",
            "-out", folder / "forged.csr")  # fmt: skip
    (folder / "forged.ext").write_text(f"{usage}\nsubjectAltName = DNS:localhost\n")
    openssl("x509", "-req", "-in", folder / "forged.csr", "-CA", folder / f"{authority}-authority.pem", "-CAkey", key,
            "-extfile", folder / "forged.ext", "-days", "1", "-out", folder / "forged.pem")  # fmt: skip
    return "device" if authority == "device" else "root"


@pytest.mark.parametrize("authority", ["device", "access"])
def test_a_stolen_device_or_access_authority_makes_no_server(files: Files, authority: str) -> None:
    root = forge(files, authority, "extendedKeyUsage = serverAuth")
    found = files.verify("forged", "-purpose", "sslserver", root=root)
    assert "unsuitable certificate purpose" in found


def test_the_forging_itself_works_where_the_authority_may(files: Files) -> None:
    root = forge(files, "issuing", "extendedKeyUsage = serverAuth")
    assert files.verify("forged", "-purpose", "sslserver", root=root).endswith("OK\n")


@pytest.mark.parametrize("authority", ["issuing", "access", "device"])
def test_no_authority_can_make_another_below_it(files: Files, authority: str) -> None:
    root = forge(files, authority, "basicConstraints = critical,CA:TRUE\nkeyUsage = keyCertSign")
    folder = files.folder
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "leaf.key", "-subj", "/CN=leaf",
            "-out", folder / "leaf.csr")  # fmt: skip
    openssl("x509", "-req", "-in", folder / "leaf.csr", "-CA", folder / "forged.pem", "-CAkey", folder / "forged.key",
            "-days", "1", "-out", folder / "leaf.pem")  # fmt: skip
    found = files.verify("leaf", "-untrusted", str(folder / "forged.pem"), root=root)
    assert "path length constraint exceeded" in found


def test_lists_are_der_of_the_right_type_and_verify(files: Files) -> None:
    for authority in ("root", "issuing", "access", "device"):
        url = f"http://127.0.0.1:{files.server.http}/crl/{authority}.crl"
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.headers["Content-Type"] == "application/pkix-crl"
            files.path("one.crl").write_bytes(answer.read())
        found = openssl("crl", "-inform", "DER", "-in", files.path("one.crl"), "-noout", "-text", "-CAfile",
                        files.path(f"{authority}-authority.pem"))  # fmt: skip
        assert "verify OK" in found
        assert "X509v3 CRL Number" in found and "X509v3 Authority Key Identifier" in found


def test_before_anything_happened_lists_and_ocsp_say_good(files: Files) -> None:
    assert files.verify("user", "-crl_check_all").endswith("OK\n")
    answer = files.ask()
    assert f"{files.path('user.pem')}: good" in answer
    assert "Response verify OK" in answer


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
@pytest.mark.parametrize("nonce", ["-nonce", "-no_nonce"])
def test_ocsp_answers_either_digest_with_and_without_nonce(files: Files, digest: str, nonce: str) -> None:
    answer = files.ask(nonce, digest=digest)
    assert ": good" in answer and "Response verify OK" in answer
    assert "WARNING: no nonce in response" not in answer


def test_ocsp_knows_no_serial_it_never_gave(files: Files) -> None:
    answer = files.ask(about=("-serial", "0x1234567890"))
    assert "0x1234567890: unknown" in answer and "Response verify OK" in answer


def test_ocsp_answers_for_the_issuing_authority_only(files: Files) -> None:
    for authority in ("root", "access", "device"):
        assert "Responder Error: unauthorized" in files.ask(authority=authority)


def test_ocsp_over_get_gives_the_same_answer(files: Files) -> None:
    openssl("ocsp", "-issuer", files.path("issuing-authority.pem"), "-cert", files.path("user.pem"), "-no_nonce",
            "-reqout", files.path("request.der"))  # fmt: skip
    text = base64.b64encode(files.path("request.der").read_bytes()).decode()
    for path in (quote(text, safe=""), text, text.rstrip("=")):
        files.path("answer.der").write_bytes(files.fetch(f"/ocsp/issuing/{path}"))
        found = openssl("ocsp", "-respin", files.path("answer.der"), "-issuer", files.path("issuing-authority.pem"),
                        "-cert", files.path("user.pem"), "-CAfile", files.path("root-authority.pem"))  # fmt: skip
        assert ": good" in found and "Response verify OK" in found


def test_while_denied_lists_and_ocsp_say_that_the_certificate_is_on_hold(denied: Files) -> None:
    answer = denied.ask()
    assert ": revoked" in answer and "Reason: certificateHold" in answer and "Response verify OK" in answer
    wait_for(lambda: "certificate revoked" in denied.verify("user", "-crl_check_all"))
    listed = openssl("crl", "-in", denied.path("issuing.crl.pem"), "-noout", "-text")
    assert "Certificate Hold" in listed


def test_after_the_denial_both_say_good_again(files: Files) -> None:
    assert files.verify("user", "-crl_check_all").endswith("OK\n")
    assert ": good" in files.ask()


def test_a_revoked_certificate_stays_revoked_with_its_reason(files: Files) -> None:
    certificate_id = issue(files.server, files.folder, "user", ALICE)
    files.server.api("POST", f"/certificates/{certificate_id}/revocation", {"reason": "key compromise"})
    answer = files.ask()
    assert ": revoked" in answer and "Reason: keyCompromise" in answer
    wait_for(lambda: "certificate revoked" in files.verify("user", "-crl_check_all"))
    issue(files.server, files.folder, "user", ALICE)
    assert files.verify("user", "-crl_check_all").endswith("OK\n")


def test_a_pkcs12_file_opens_with_its_password_and_holds_key_and_chain(files: Files) -> None:
    out = files.path("p12")
    files.server.run("certificate", "issue", "--user", ALICE, "--out", str(out), "--pkcs12", stdin="p12 password\n")
    read = ("pkcs12", "-in", out / "certificate.p12")
    found = openssl(*read, "-passin", "pass:p12 password", "-nodes", "-info")
    assert found.count("BEGIN CERTIFICATE") == 3 and found.count("BEGIN PRIVATE KEY") == 1
    assert "subject=CN = alice@corp.example" in found and "subject=CN = Example Issuing CA 1" in found
    assert "PBES2, PBKDF2, AES-256-CBC" in found
    assert "invalid password" in openssl(*read, "-passin", "pass:wrong", "-nodes")
    assert (out / "certificate.p12").stat().st_mode & 0o777 == 0o600
    assert (out / "key.pem").stat().st_mode & 0o777 == 0o600


def test_a_devices_files_hold_the_authority_above_it_too(files: Files) -> None:
    out = files.path("device p12")
    files.server.run("certificate", "issue", "--device", LAPTOP, "--out", str(out), "--pkcs12", stdin="p12 password\n")
    authority = str(out / "device-authority.pem")
    assert openssl("verify", "-CAfile", authority, out / "certificate.pem").endswith("OK\n")
    found = openssl("pkcs12", "-in", out / "certificate.p12", "-passin", "pass:p12 password", "-nokeys")
    assert [name for name in ("Devices", "Root", "Issuing") if f"subject=CN = Example {name} CA 1" in found] == [
        "Devices",
        "Root",
    ]


@pytest.mark.parametrize("key_type", ["p384", "rsa3072"])
def test_authorities_with_other_keys_are_understood_as_well(fresh: Server, key_type: str) -> None:
    fresh.init("--key-type", key_type)
    fresh.start()
    files = make_files(fresh)
    assert files.verify("user", "-crl_check_all", "-purpose", "sslclient").endswith("OK\n")
    assert files.verify("short-lived").endswith("OK\n")
    assert files.verify("device", root="device").endswith("OK\n")
    answer = files.ask(digest="sha256")
    assert ": good" in answer and "Response verify OK" in answer
