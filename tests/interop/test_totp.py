"""Alice signs in with a password and the code of an authenticator app: by command line, against the real program."""

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
import pytest

from evertunnel.clock import now
from tests.interop.server import Server
from tests.interop.test_openssl import issue

ALICE = "alice@corp.example"
LAPTOP = "laptop1.corp.example"
PASSWORD = "correct horse battery"
STEP_SECONDS = 30


@dataclass
class Desk:
    """Alice at her laptop."""

    server: Server
    device: Path

    def connect(self, *lines: str) -> subprocess.CompletedProcess[str]:
        """`evertunnel connect` with what she types. There is no strongSwan here, so it ends after the certificate."""
        return self.server.run(
            "connect", "--server", f"https://localhost:{self.server.https}", "--gateway", "localhost", "--device",
            str(self.device), "--user", ALICE, "--network", "10.20.0.0/16", "--vici-socket", "/nowhere/charon.vici",
            stdin="".join(f"{line}\n" for line in lines), check=False,
        )  # fmt: skip

    def get_certificate(self, *lines: str) -> None:
        """Sign in."""
        done = self.connect(*lines)
        assert "Short-lived certificate after" in done.stdout, done.stderr
        assert done.returncode == 3 and "/nowhere/charon.vici" in done.stderr

    def refuse(self, *lines: str) -> str:
        """Be refused, in one line."""
        done = self.connect(*lines)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stdout + done.stderr
        return done.stderr

    def find_attempt(self) -> dict[str, Any]:
        """The newest."""
        [row] = self.server.json("attempt", "list", "--limit", "1")
        found: dict[str, Any] = self.server.json("attempt", "show", row["id"])
        return found


@pytest.fixture
def desk(fresh: Server) -> Desk:
    """Alice may have a certificate on her laptop."""
    fresh.init()
    fresh.start()
    folder = fresh.folder / "files"
    folder.mkdir()
    for row in fresh.api("GET", "/authorities").json():
        (folder / f"{row['name']}-authority.pem").write_text(row["pem"])
    fresh.run("user", "add", ALICE, "--password", stdin=f"{PASSWORD}\n")
    fresh.api("POST", "/devices", {"name": LAPTOP})
    fresh.api("PUT", f"/devices/{LAPTOP}/users/{ALICE}")
    fresh.api("POST", f"/devices/{LAPTOP}/reports", {"compliant": True})
    fresh.api("POST", "/policies/usual")
    issue(fresh, folder, "device", LAPTOP)
    return Desk(fresh, folder / "device-folder")


def find_state(server: Server) -> Any:
    [row] = server.json("user", "list")
    return row["totp"]


def test_from_the_first_code_to_a_lost_phone(desk: Desk) -> None:
    server = desk.server
    desk.get_certificate(PASSWORD)
    assert find_state(server) is None

    shown = server.run("user", "totp", "add", ALICE).stdout
    uri, typed, hint = shown.splitlines()
    app = pyotp.parse_uri(uri)
    assert isinstance(app, pyotp.TOTP) and (app.name, app.issuer) == (ALICE, "Example")
    assert typed.removeprefix("To type: ").replace(" ", "") == app.secret and "totp confirm" in hint
    assert find_state(server) == "unconfirmed"
    desk.get_certificate(PASSWORD)

    while now().timestamp() % STEP_SECONDS > 8:  # three codes of one step and those beside it, before it ends
        time.sleep(0.1)
    before, present, after = (app.at(now(), counter_offset=offset) for offset in (-1, 0, 1))
    wrong = next(code for code in ("000000", "111111", "222222", "333333") if code not in (before, present, after))
    server.run("user", "totp", "confirm", ALICE, stdin=f"{before}\n")
    desk.get_certificate(PASSWORD, f"{present[:3]} {present[3:]}")
    assert find_state(server) == "confirmed"
    found = desk.find_attempt()
    assert (found["outcome"], found["authentication_methods"]) == ("granted", ["password", "totp"])
    assert found["signed_in_at"] == found["at"]
    assert "Signed in:     password, totp at 2" in server.run("attempt", "show", found["id"]).stdout
    certificate = next(row for row in server.json("certificate", "list") if row["kind"] == "short-lived")
    assert (certificate["authentication_methods"], certificate["signed_in_at"]) == (["password", "totp"], found["at"])

    assert server.stop() == 0
    server.start()
    refused = desk.refuse(PASSWORD, present)
    assert refused.startswith("evertunnel: Access was refused. Reference ")
    assert "was used before" in desk.find_attempt()["detail"]
    assert desk.refuse(PASSWORD, wrong).split("Reference")[0] == desk.refuse("a guess").split("Reference")[0]
    assert "no code of your authenticator app came on standard input" in desk.refuse(PASSWORD)
    assert desk.find_attempt()["reason"] == "code_needed"

    server.run("user", "totp", "remove", ALICE)
    assert find_state(server) is None
    desk.get_certificate(PASSWORD)
    assert desk.find_attempt()["authentication_methods"] == ["password"]
    _verify_nothing_tells(server, app)


def _verify_nothing_tells(server: Server, app: pyotp.TOTP) -> None:
    """Who did it is on record; the secret is in no file, no log and no audit entry."""
    audit = [row for row in server.json("audit", "list") if row["name"].startswith("user:totp")]
    assert sorted(row["name"] for row in audit) == ["user:totp-add", "user:totp-confirm", "user:totp-remove"]
    assert all(row["actor"] and row["subject"] == ALICE for row in audit)
    files = [path for path in (*server.state.rglob("*"), server.log) if path.is_file()]
    for secret in (app.secret.encode(), app.byte_secret()):
        assert [path for path in files if secret in path.read_bytes()] == []
    assert "Traceback" not in server.log.read_text()


def test_mistakes_get_one_line(desk: Desk) -> None:
    server = desk.server
    server.run("user", "add", "bob@corp.example")
    for arguments, stdin, word in (
        (("add", "nobody@corp.example"), "", "there is no user"),
        (("add", "bob@corp.example"), "", "has no password here"),
        (("confirm", ALICE), "123456\n", "has no authenticator app"),
        (("confirm", ALICE), "", "no code of the authenticator app came on standard input"),
        (("remove", ALICE), "", "has no authenticator app"),
    ):
        done = server.run("user", "totp", *arguments, stdin=stdin, check=False)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1) and word in done.stderr, done.stderr
    given = json.loads(server.run("user", "totp", "add", ALICE, "--json").stdout)
    assert given["name"] == ALICE and f"secret={given['secret']}" in given["uri"]
    done = server.run("user", "totp", "confirm", ALICE, stdin="nonsense\n", check=False)
    assert done.returncode == 1 and "the code is wrong" in done.stderr
