"""evertunnel profile: from a gateway to every format and back, with and without a server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.server import Server
from tests.unit.profiles.samples import USER

SUFFIX = "corp.example"


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    """A gateway, and a profile for each tunnel made from it."""
    server = Server()
    try:
        server.init("--public-name", "vpn.example.com")
        server.start()
        fill(server)
        yield server
    finally:
        server.remove()


def fill(server: Server) -> None:
    server.run(
        "gateway", "add", "gw1", "--public-name", "vpn.example.com", "--device-pool", "10.30.0.0/20", "--user-pool",
        "10.31.0.0/20", "--device-network", "10.20.0.10/32", "--user-network", "10.20.0.0/16", "--dns", "10.20.0.53",
    )  # fmt: skip
    for tunnel in ("user", "device"):
        server.run(
            "profile", "create", f"Corp {tunnel}", "--tunnel", tunnel, "--gateway", "gw1", "--dns-suffix", SUFFIX
        )


def test_a_profile_made_from_a_gateway_has_no_errors_and_meets_it(filled: Server) -> None:
    for name in ("Corp user", "Corp device"):
        found = filled.json("profile", "lint", name, "--against", "gw1")
        assert [finding for finding in found if finding["level"] == "error"] == []
    assert {row["name"]: row["problems"] for row in filled.json("profile", "list")} == {
        "Corp user": [], "Corp device": [],
    }  # fmt: skip


def test_both_together_have_no_errors(filled: Server) -> None:
    found = filled.json("profile", "lint", "Corp user", "Corp device")
    assert [finding for finding in found if finding["level"] == "error"] == []


def test_every_format_is_written_and_what_is_read_means_the_same(filled: Server) -> None:
    for row in filled.json("profile", "formats"):
        for name in ("Corp user", "Corp device"):
            if row["name"] == "certificate-script" and name == "Corp device":
                continue  # people sign in for it
            out = filled.folder / f"{name}-{row['name']}.{row['extension']}"
            done = filled.run("profile", "export", name, "--format", row["name"], "--out", str(out), "--server-url",
                              "https://vpn.example.com")  # fmt: skip
            assert out.stat().st_size > 100
            if row["name"] in ("profilexml-intune", "profilexml-wmi", "intune-custom", "powershell", "evertunnel"):
                assert "left out" not in done.stderr
                assert filled.json("profile", "diff", name, str(out)) == []


def test_a_version_is_made_by_a_change_only_and_goes_out_with_the_profile(filled: Server) -> None:
    path = filled.folder / "own.json"
    filled.run("profile", "export", "Corp user", "--format", "evertunnel", "--out", str(path))
    filled.run("profile", "import", str(path))
    assert [row["version"] for row in filled.json("profile", "versions", "Corp user")] == [1]
    document = json.loads(path.read_text())
    document["profile"]["network_outage_seconds"] = 600
    path.write_text(json.dumps(document))
    filled.run("profile", "import", str(path))
    assert [row["version"] for row in filled.json("profile", "versions", "Corp user")] == [2, 1]
    assert filled.json("profile", "show", "Corp user", "--version", "1")["profile"]["network_outage_seconds"] is None
    for name, sign in (("intune-custom", "version 2"), ("swanctl", "version 2")):
        assert sign in filled.run("profile", "export", "Corp user", "--format", name).stdout


def test_a_file_with_errors_is_kept_only_when_asked(filled: Server) -> None:
    path = Path(__file__).parents[1] / "unit" / "profiles" / "mistakes" / "boolean-capital.xml"
    done = filled.run("profile", "import", str(path), check=False)
    assert "has 1 errors" in done.stderr
    assert "boolean-capital" not in {row["name"] for row in filled.json("profile", "list")}
    filled.run("profile", "import", str(path), "--anyway")
    filled.run("profile", "remove", "boolean-capital")


def test_errors_keep_a_profile_from_being_written_unless_asked(filled: Server) -> None:
    path = Path(__file__).parents[1] / "unit" / "profiles" / "mistakes" / "weak-suite.xml"
    done = filled.run("profile", "export", str(path), "--format", "powershell", check=False)
    assert done.returncode == 1
    assert "Group2 is weak" in done.stderr
    assert filled.run("profile", "export", str(path), "--format", "powershell", "--anyway").stdout


def test_files_need_no_server(fresh: Server) -> None:
    path = Path(__file__).parents[1] / "unit" / "profiles" / "mistakes" / "weak-suite.xml"
    fresh.folder.mkdir(exist_ok=True)
    found = json.loads(fresh.run("profile", "lint", str(path), "--json", check=False).stdout)
    assert [finding["rule"] for finding in found if finding["level"] == "error"] == ["weak-suite"]
    assert "weak-suite" in fresh.run("profile", "import", str(path), "--dry-run").stdout
    assert fresh.run("profile", "diff", str(path), str(path)).stdout == "No difference in meaning.\n"


REFUSED = [
    (b"<VPNProfile>&x;</VPNProfile>", "line 1"),
    (b"<VPNProfile><A>a & b</A></VPNProfile>", "&amp;"),
    (b'<!DOCTYPE x [<!ENTITY a "b">]><VPNProfile/>', "not accepted"),
    (b"<a>" * 200, "too deep"),
    (b"<Other/>", "not VPNProfile"),
    (b"{", "line 1"),
    (b"[1]", "no VPN profile"),
    (b"\xff\xfe\x00", "save the file"),
    (b"connections {", "not closed"),
    (b"Windows Registry Editor Version 5.00\r\n\r\n[HK", "line"),
    (b"hello", "not recognised"),
    (b"x" * 5_000_000, "larger"),
]


@pytest.mark.parametrize(("data", "word"), REFUSED, ids=[word for _, word in REFUSED])
def test_what_cannot_be_read_gets_one_line(fresh: Server, data: bytes, word: str) -> None:
    path = fresh.folder / "bad"
    path.write_bytes(data)
    for command in (("lint",), ("import", "--dry-run")):
        done = fresh.run("profile", *command, str(path), check=False)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert word in done.stderr.splitlines()[-1]


def test_a_change_of_the_gateway_names_the_profiles_it_invalidates(filled: Server) -> None:
    done = filled.run("gateway", "change", "gw1", "--user-network", "10.40.0.0/16", "--dns", "10.40.0.53")
    assert "Profile Corp user no longer fits: gateway gw1 does not carry 10.20.0.0/16" in done.stdout
    assert "other DNS servers" in done.stdout
    assert "Corp device" not in done.stdout
    (row,) = (row for row in filled.json("profile", "list") if row["name"] == "Corp user")
    assert row["problems"]
    assert filled.run("profile", "lint", "Corp user", "--against", "gw1", check=False).returncode == 1
    filled.run("gateway", "change", "gw1", "--user-network", "10.20.0.0/16", "--dns", "10.20.0.53")
    assert all(not row["problems"] for row in filled.json("profile", "list"))


def test_removing_the_gateway_leaves_its_profiles(filled: Server) -> None:
    filled.run(
        "gateway", "add", "gw2", "--public-name", "vpn2.example.com", "--device-pool", "10.50.0.0/20", "--user-pool",
        "10.51.0.0/20", "--device-network", "10.20.0.10/32", "--user-network", "10.20.0.0/16", "--radius-address",
        "127.0.0.2",
    )  # fmt: skip
    filled.run("profile", "create", "Second", "--tunnel", "user", "--gateway", "gw2")
    filled.run("gateway", "remove", "gw2")
    assert {row["name"]: row["gateway"] for row in filled.json("profile", "list")}["Second"] is None
    filled.run("profile", "remove", "Second")


def test_a_secret_is_not_kept(filled: Server) -> None:
    path = filled.folder / "secret.json"
    filled.run("profile", "export", "Corp user", "--format", "evertunnel", "--out", str(path))
    document = json.loads(path.read_text())
    document["profile"] |= {"name": "secret", "l2tp_preshared_key": "hunter2"}
    path.write_text(json.dumps(document))
    done = filled.run("profile", "import", str(path), check=False)
    assert "a secret is not kept" in done.stderr
    assert "secret" not in {row["name"] for row in filled.json("profile", "list")}
    assert USER.name
