"""Compliance policies, facts in bulk and posture, by the commands an administrator and a client type."""

import json
from pathlib import Path

import pytest

from tests.interop.server import Server
from tests.interop.test_command_line import ALICE, LAPTOP, refuse, write

POLICY = {
    "platform": "linux",
    "rules": {"diskEncryption": True, "operatingSystemVersionAtLeast": {"ubuntu": "24.04"}},
    "gracePeriodDays": 3,
}
HEADER = "device,fact,value,observed_at,life\n"
GOOD = (
    f"{LAPTOP},operatingSystem,Linux,,8h\n{LAPTOP},linux_distribution,ubuntu,,8h\n"
    f"{LAPTOP},operatingSystemVersion,24.04,,8h\n{LAPTOP},disk_encryption,true,,8h\n"
)


@pytest.fixture(scope="module")
def filled(server: Server) -> Server:
    """A user, a device, and a compliance policy for Linux."""
    server.run("user", "add", ALICE)
    server.run("device", "add", LAPTOP)
    server.run("compliance", "import", write(server, "linux.json", "\ufeff" + json.dumps(POLICY)))
    return server


def test_policies_are_listed_shown_and_imported_again(filled: Server) -> None:
    assert [row["platform"] for row in filled.json("compliance", "list")] == ["linux"]
    assert 'operatingSystemVersionAtLeast={"ubuntu": "24.04"}' in filled.run("compliance", "list").stdout
    shown = filled.run("compliance", "show", "Linux").stdout
    assert json.loads(shown) == POLICY
    done = filled.run("compliance", "import", write(filled, "again.json", shown))
    assert done.stdout == "Imported the compliance policy for linux.\n0 devices are judged otherwise now.\n"


def test_facts_of_a_management_make_a_device_compliant_and_are_explained(filled: Server) -> None:
    path = write(filled, "facts.csv", (HEADER + GOOD).encode("utf-16"))
    done = filled.run("device", "import-facts", path, "--source", "mdm")
    assert done.stdout == "Imported 4 facts; something changed of 1 devices and users.\n"
    text = filled.run("compliance", "check", LAPTOP).stdout
    assert text.startswith(f"{LAPTOP} is compliant: mdm posture said true at ")
    assert "ubuntu 24.04 is at least 24.04" in text
    failed = HEADER + f"{LAPTOP},disk_encryption,false,,\n"
    filled.run("device", "import-facts", write(filled, "failed.csv", failed), "--source", "script")
    found = filled.json("compliance", "check", LAPTOP)
    assert found["compliant"] is True
    assert found["verdict"]["detail"].startswith("in the grace period until ")
    assert "disk encryption is off" in filled.run("compliance", "check", LAPTOP).stdout


def test_what_is_exported_can_be_imported(filled: Server) -> None:
    formula = HEADER + f"{LAPTOP},model,=HYPERLINK(1),,\n"
    filled.run("device", "import-facts", write(filled, "formula.csv", formula))
    out = filled.folder / "out.csv"
    filled.run("device", "export-facts", "--source", "import", "--out", str(out))
    text = out.read_text()
    assert "'=HYPERLINK(1)" in text
    assert "something changed of 0 " in filled.run("device", "import-facts", str(out)).stdout
    assert "File exists" in refuse(filled, "device", "export-facts", "--out", str(out))


def test_a_risk_is_reported_by_hand(filled: Server) -> None:
    assert "risk of" in filled.run("user", "report", ALICE, "--user-risk", "high", "--life-hours", "1").stdout
    assert "none, low, medium or high" in refuse(filled, "user", "report", ALICE, "--user-risk", "huge")
    assert "--sign-in-risk or --user-risk" in refuse(filled, "user", "report", ALICE)


@pytest.mark.parametrize(
    ("arguments", "content", "words"),
    [
        (("device", "import-facts"), HEADER + "nobody,compliant,true,,\n", "line 2, column device: there is no device"),
        (("device", "import-facts"), HEADER + f"{LAPTOP},compliance,true,,\n", "line 2, column fact: 'compliance' is"),
        (("device", "import-facts"), HEADER + f"{LAPTOP},compliant,true,,x\n", "line 2, column life: 'x' is not"),
        (("device", "import-facts", "--source", "device"), HEADER + GOOD, "'device' cannot be imported as a source"),
        (
            ("compliance", "import"),
            '{"platform": "linux", "rules": {"firewal": true}}',
            "$.rules.firewal: is not known",
        ),
        (("compliance", "import"), "{", "is not JSON"),
        (("compliance", "import"), "[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(filled: Server, arguments: tuple[str, ...], content: str, words: str) -> None:
    assert words in refuse(filled, *arguments, write(filled, "wrong", content))


def test_what_is_not_there_is_one_line(filled: Server) -> None:
    assert "there is no compliance policy for 'windows'" in refuse(filled, "compliance", "show", "windows")
    assert "there is no compliance policy for 'beos'" in refuse(filled, "compliance", "remove", "beos")
    assert "there is no device 'nobody'" in refuse(filled, "compliance", "check", "nobody")
    assert "cannot be read" in refuse(filled, "device", "import-facts", "/nowhere.csv")


def test_a_machine_reports_its_posture_under_its_devices_key(filled: Server, tmp_path: Path) -> None:
    folder = tmp_path / "laptop"
    filled.run("certificate", "issue", "--device", LAPTOP, "--out", str(folder))
    url = f"https://localhost:{filled.https}"
    assert filled.run("posture", "report", "--server", url, "--device", str(folder)).stdout.startswith("Reported ")
    said = {fact["name"]: fact["value"] for fact in filled.json("compliance", "check", LAPTOP)["facts"]
            if fact["source"] == "device"}  # fmt: skip
    assert said["operatingSystem"] == "Linux"
    shown = filled.json("posture", "show")
    assert set(said) == set(shown)
    filled.run("device", "change", LAPTOP, "--disable")
    assert refuse(filled, "posture", "report", "--server", url, "--device", str(folder)).endswith(
        "The report was refused."
    )
    filled.run("device", "change", LAPTOP, "--enable")


def test_a_platform_without_its_policy_is_compliant_no_more(filled: Server) -> None:
    filled.run("compliance", "remove", "linux")
    assert filled.json("compliance", "check", LAPTOP)["verdict"]["compliant"] is None
    assert filled.json("compliance", "list") == []
