"""The commands against a real server: what an administrator types in a day, and what he mistypes."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.interop.server import Server

ALICE, LAPTOP = "alice@corp.example", "laptop1.corp.example"
POLICY = {
    "displayName": "Demand a compliant laptop",
    "state": "enabled",
    "conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}},
    "grantControls": {"operator": "OR", "builtInControls": ["compliantDevice"]},
}


def refuse(server: Server, *arguments: str, stdin: str = "") -> str:
    """The one line with which a command refuses."""
    done = server.run(*arguments, stdin=stdin, check=False)
    assert done.returncode != 0, done.stdout
    lines = [line for line in done.stderr.splitlines() if line]
    assert "Traceback" not in done.stderr
    assert lines, "something is said"
    return lines[-1]


def write(server: Server, name: str, text: str | bytes) -> str:
    path = server.folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture(scope="module")
def filled(server: Server) -> Server:
    """A user and a device, the usual policies."""
    server.run("user", "add", ALICE, "--display-name", "Alice", "--password", stdin="correct horse battery\n")
    server.run("device", "add", LAPTOP)
    server.run("device", "assign", LAPTOP, ALICE)
    server.run("policy", "set-up")
    server.run("group", "join", "VPN Users", "--user", ALICE)
    server.run("group", "join", "VPN Devices", "--device", LAPTOP)
    return server


def test_what_was_added_is_listed_as_table_and_as_json(filled: Server) -> None:
    assert [row["name"] for row in filled.json("user", "list")] == [ALICE]
    assert [row["name"] for row in filled.json("device", "list")] == [LAPTOP]
    assert {"VPN Users", "VPN Devices", "VPN Denied"} == {row["name"] for row in filled.json("group", "list")}
    assert [row["position"] for row in filled.json("policy", "network", "list")] == [1, 2, 3]
    for noun, name in (("user", ALICE), ("device", LAPTOP), ("group", "VPN Users")):
        heading, *rows = filled.run(noun, "list").stdout.splitlines()
        assert heading.startswith(noun.upper())
        assert any(row.startswith(name) for row in rows)


def test_a_certificate_is_issued_shown_and_revoked(filled: Server) -> None:
    out = filled.folder / "issued"
    filled.run("certificate", "issue", "--device", LAPTOP, "--out", str(out))
    (row,) = (row for row in filled.json("certificate", "list") if row["name"] == LAPTOP)
    assert {path.name for path in out.iterdir()} >= {"certificate.pem", "key.pem"}
    assert (out / "key.pem").stat().st_mode & 0o077 == 0
    again = refuse(filled, "certificate", "issue", "--device", LAPTOP, "--out", str(out))
    assert "certificate.pem is there already" in again
    assert row["serial"] in filled.run("certificate", "show", row["id"]).stdout
    filled.run("certificate", "revoke", row["id"], "--reason", "key compromise")
    assert filled.json("certificate", "show", row["id"])["status"] == "revoked"
    assert "revoked" in refuse(filled, "certificate", "revoke", row["id"])


def test_a_request_with_somebody_elses_names_gives_its_key_only(filled: Server, tmp_path: Path) -> None:
    key, csr = tmp_path / "key.pem", tmp_path / "request.pem"
    subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
         "-out", csr, "-subj", "/CN=administrator@corp.example", "-addext", "subjectAltName=DNS:vpn.example.com",
         "-addext", "basicConstraints=critical,CA:true", "-addext", "extendedKeyUsage=serverAuth"],
        check=True, capture_output=True,
    )  # fmt: skip
    out = filled.folder / "from-request"
    filled.run("certificate", "issue", "--user", ALICE, "--csr", str(csr), "--out", str(out))
    command = ["openssl", "x509", "-in", out / "certificate.pem", "-noout", "-text"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "alice@corp.example" in text
    for foreign in ("administrator", "vpn.example.com", "CA:TRUE", "TLS Web Server"):
        assert foreign not in text
    assert not (out / "key.pem").exists()


def test_deny_and_allow_without_a_gateway(filled: Server) -> None:
    denied = filled.json("deny", "user", ALICE, "--reason", "left the company")
    assert denied["gateways"] == []
    assert [(row["name"], row["reason"]) for row in filled.json("deny", "list")] == [(ALICE, "left the company")]
    assert "left the company" in refuse(filled, "certificate", "issue", "--user", ALICE, "--out", "/nowhere/x")
    filled.run("allow", "user", ALICE)
    assert filled.json("deny", "list") == []
    assert "is not denied" in refuse(filled, "allow", "user", ALICE)


def test_an_access_policy_goes_in_and_out_of_use(filled: Server) -> None:
    filled.run("policy", "access", "import", write(filled, "policy.json", json.dumps(POLICY)))
    name = POLICY["displayName"]
    assert name in [row["name"] for row in filled.json("policy", "access", "list")]
    filled.run("policy", "access", "switch", str(name), "report-only")
    states = {row["name"]: row["document"]["state"] for row in filled.json("policy", "access", "list")}
    assert states[str(name)] == "enabledForReportingButNotEnforced"
    filled.run("policy", "access", "remove", str(name))


MISTYPED = {
    "no JSON": ('{"displayName": "x",\n "state" "enabled"}', ("line 2", "column 10")),
    "no policy": ("[1]", ("typo.json", "[0]")),
    "a mistyped condition": (
        json.dumps(POLICY | {"conditions": POLICY["conditions"] | {"signInRiskLevels": ["hgh"]}}),
        ("conditions.signInRiskLevels",),
    ),
    "an unknown control": (
        json.dumps(POLICY | {"grantControls": {"operator": "OR", "builtInControls": ["fingerprint"]}}),
        ("grantControls.builtInControls",),
    ),
    "a mistyped state": (json.dumps(POLICY | {"state": "enbaled"}), ("state", "enbaled")),
    "nothing": ("", ("line 1",)),
    "bytes": (b"\x00\xff\xfe\x80" * 30, ("typo.json", "line 1")),
}  # type: dict[str, tuple[str | bytes, tuple[str, ...]]]


@pytest.mark.parametrize("what", MISTYPED)
def test_a_policy_file_with_an_error_is_refused_with_its_place_and_changes_nothing(filled: Server, what: str) -> None:
    text, words = MISTYPED[what]
    before = filled.json("policy", "access", "list")
    line = refuse(filled, "policy", "access", "import", write(filled, "typo.json", text))
    for word in words:
        assert word in line
    assert filled.json("policy", "access", "list") == before


WRONG = [
    (("user", "add", ALICE), "already"),
    (("user", "add", "no at sign"), "no at sign"),
    (("user", "change", "nobody@corp.example", "--disable"), "nobody@corp.example"),
    (("device", "assign", LAPTOP, "nobody@corp.example"), "nobody@corp.example"),
    (("device", "report", "unknown.corp.example", "--compliant"), "unknown.corp.example"),
    (("device", "report", LAPTOP, "--compliant", "--life-hours", "nan"), "--life-hours"),
    (("device", "report", LAPTOP, "--compliant", "--life-hours", "-3"), "--life-hours"),
    (("connect", "--server", "http://x.example", "--gateway", "x.example", "--device", "x", "--user", ALICE,
      "--network",
      "10.0.0.0/8"), "https://"),
    (("connect", "--server", "https://x.example", "--gateway", "x.example", "--device", "x", "--user", ALICE,
      "--network",
      "10.20"), "10.20"),
    (("group", "join", "VPN Users"), "exactly one"),
    (("certificate", "show", "nonsense"), "nonsense"),
    (("certificate", "issue", "--user", ALICE, "--csr", "/nowhere.csr", "--out", "/nowhere/x"), "/nowhere.csr"),
    (("policy", "network", "add", "x", "--grant", "--tunnel", "teleport"), "teleport"),
    (("policy", "network", "remove", "nonesuch"), "nonesuch"),
    (("gateway", "add", "gw1", "--public-name", "vpn.example.com", "--device-pool", "10.0.0.0/99", "--user-pool",
      "10.1.0.0/24", "--device-network", "10.20.0.0/16", "--user-network", "10.20.0.0/16"), "10.0.0.0/99"),
    (("gateway", "add", "gw1", "--public-name", "192.0.2.1", "--device-pool", "10.0.0.0/24", "--user-pool",
      "10.1.0.0/24", "--device-network", "10.20.0.0/16", "--user-network", "10.20.0.0/16"), "192.0.2.1"),
    (("gateway", "add", "gw1", "--public-name", "vpn.example.com", "--device-pool", "10.0.0.0", "--user-pool",
      "10.1.0.0/24", "--device-network", "10.20.0.0/16", "--user-network", "10.20.0.0/16"), "10.0.0.0/32"),
    (("deny", "user", "nobody@corp.example", "--reason", "x"), "nobody@corp.example"),
    (("deny", "user", ALICE, "--reason", "x", "--until", "yesterday"), "--until"),
    (("attempt", "show", "nonsense"), "nonsense"),
    (("attempt", "list", "--gateway", "gw9"), "gw9"),
    (("attempt", "list", "--reason", "no_policy"), "is it no_"),
    (("attempt", "list", "--method", "chap"), "eap-tls"),
    (("attempt", "list", "--since", "lately"), "--since"),
    (("attempt", "watch", "--kind", "tunnel"), "kind"),
    (("attempt", "export", "--format", "xml"), "format"),
    (("user", "add", "\x1b[2Jeve@corp.example"), "corp.example"),
    (("user", "add", "x" * 100_000), "x"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "word"), WRONG, ids=lambda value: " ".join(value[:2]) if value else "")
def test_a_mistake_gets_one_line_that_names_it(filled: Server, arguments: tuple[str, ...], word: str) -> None:
    line = refuse(filled, *arguments)
    assert word in line
    assert "\x1b" not in line


def test_the_record_is_unchanged_after_all_that(filled: Server) -> None:
    assert filled.json("audit", "verify")["problems"] == []
    other = filled.run("audit", "verify", "--expect", "00" * 32, check=False)
    assert other.returncode == 1
    assert "no batch has the hash " + "00" * 32 in other.stdout
    names = {row["name"] for row in filled.json("audit", "list", "--limit", "1000")}
    assert {"user:add", "certificate:revoke", "user:deny", "user:allow", "access-policy:import"} <= names
