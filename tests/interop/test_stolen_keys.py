"""What SECURITY.md says to do after a theft exists and works."""

import re
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from tests.commands import find_problem
from tests.interop.server import Server

ROOT = Path(__file__).parent.parent.parent
NOUNS = "certificate|gateway|keys|audit|deny|backup|restore"


def test_every_command_in_the_security_page_is_one() -> None:
    spans = [span.removeprefix("evertunnel ") for span in re.findall(r"`([^`]+)`", (ROOT / "SECURITY.md").read_text())]
    commands = [span for span in spans if re.match(rf"(?:{NOUNS}) ", span)]
    assert len(commands) >= 10
    assert [problem for line in commands if (problem := find_problem(line))] == []


def find_serial(server: Server) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", server.https))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


@pytest.mark.parametrize(("name", "process"), [("https", "web-public"), ("policy-server", "radius")])
def test_a_server_gets_a_new_key_and_the_old_certificate_is_revoked(fresh: Server, name: str, process: str) -> None:
    fresh.init()
    fresh.start()
    serial = find_serial(fresh)
    path = fresh.state / "keys" / process / f"{name}.pem"
    before, owner = path.read_bytes(), path.stat().st_uid
    command = ("certificate", "renew", name, "--new-key")
    assert "another `evertunnel serve` runs" in fresh.run(*command, check=False).stderr
    assert fresh.run(*command[:-1], check=False).returncode == 2
    fresh.stop()
    fresh.run(*command)
    assert path.read_bytes() != before and (path.stat().st_uid, path.stat().st_mode & 0o777) == (owner, 0o600)
    fresh.start()
    assert (find_serial(fresh) != serial) == (name == "https")
    rows = [row for row in fresh.json("certificate", "list") if row["kind"] == "policy-server"]
    assert sorted(row["status"] for row in rows) == ["revoked", "valid", "valid"]
    revoked = next(row for row in rows if row["status"] == "revoked")
    assert revoked["revocation_reason"] == "key compromise"
    crl = subprocess.run(
        ["curl", "-sf", f"http://127.0.0.1:{fresh.http}/crl/issuing.crl"], capture_output=True, check=True
    ).stdout
    assert x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(int(revoked["serial"], 16))
    assert "Traceback" not in fresh.log.read_text()
