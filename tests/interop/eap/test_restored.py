"""A backup made while people log in, restored for other users and ports: who got in before gets in there."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evertunnel.config_text import set_settings
from tests.interop.eap.conftest import ALICE, BOB, CAROL, Live
from tests.interop.eap.eapol import Supplicant
from tests.ports import find_port

PASSPHRASE = "correct horse battery"


def run(state: Path, *arguments: str, stdin: str = "", code: int = 0) -> str:
    command = [sys.executable, "-m", "evertunnel", "--state", str(state), *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


class Before:
    """What was there before the backup, and the served installation that was made of it."""

    def __init__(self, live: Live, state: Path, radius_port: int) -> None:
        self.state = state
        self.bob, self.carol = live.issue("--user", BOB).pem, live.issue("--user", CAROL).pem
        self.alice = live.enrol()
        out = live.files / "backup.tar"
        said = run(live.state.path, "backup", "--out", str(out), "--with-keys", stdin=f"{PASSPHRASE}\n")
        self.head = said.rpartition("head ")[2].partition(".")[0]
        self.later = live.issue("--user", BOB).pem
        run(state, "restore", str(out), "--user-base", "61700", stdin=f"{PASSPHRASE}\n")
        out.unlink()
        folder = state.parent / "supplicant"
        folder.mkdir()
        self.supplicant = Supplicant(port=radius_port, secret=live.secret, root_file=live.root_file, folder=folder)


@pytest.fixture(scope="module")
def before(live: Live) -> Iterator[Before]:
    state = live.files.parent / "restored"
    names = ("radius", "accounting", "public_http", "public_https", "gate", "radsec")
    ports = {name: find_port() for name in names}
    made = Before(live, state, ports["radius"])
    config = state / "evertunnel.toml"
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    config.write_text(set_settings(config.read_text(), "listen", listen))
    log = (state.parent / "restored.log").open("wb")
    command = [sys.executable, "-m", "evertunnel", "--state", str(state), "serve"]
    with log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        deadline = time.monotonic() + 30
        while subprocess.run([*command[:-1], "user", "list"], capture_output=True, check=False).returncode:
            assert server.poll() is None and time.monotonic() < deadline, (state.parent / "restored.log").read_text()
            time.sleep(0.1)
        yield made
        server.terminate()


def test_certificates_of_before_get_in_and_others_do_not(before: Before) -> None:
    assert before.supplicant.log_in(before.bob, BOB).succeeded
    assert before.supplicant.log_in(before.alice, ALICE).succeeded
    assert not before.supplicant.log_in(before.carol, CAROL).succeeded


def test_a_certificate_issued_after_the_backup_is_unknown_and_refused(before: Before) -> None:
    assert not before.supplicant.log_in(before.later, BOB).succeeded


def test_a_denial_counts_there_alone_and_the_records_go_on_from_the_backups_head(live: Live, before: Before) -> None:
    run(before.state, "deny", "user", BOB, "--reason", "test", "--wait", "0", code=1)  # no gateway is there
    assert not before.supplicant.log_in(before.bob, BOB).succeeded
    assert "all as they were committed" in run(before.state, "audit", "verify", "--expect", before.head)
    assert BOB not in live.run("deny", "list")
