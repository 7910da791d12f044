"""Conditional access by command against a real server: locations, strengths, import, export and templates."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.server import Server, wait_for
from tests.interop.test_command_line import ALICE, LAPTOP, refuse, write
from tests.mmdb import build_mmdb, country
from tests.unit.access.samples import make_document
from tests.unit.actions.test_plan_access_policies import GROUP, MAP, PLACE, from_entra

OFFICE = {
    "@odata.type": "#microsoft.graph.ipNamedLocation",
    "id": PLACE,
    "displayName": "Büro",
    "isTrusted": True,
    "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.0/24"}],
}
ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16-le": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """Alice and a group; the server knows the countries of addresses."""
    made = Server()
    try:
        made.init()
        database = made.state / "countries.mmdb"
        database.write_bytes(build_mmdb({"192.0.2.0/24": country("DE")}))
        database.chmod(0o644)
        config = made.state / "evertunnel.toml"
        config.write_text('country_database = "countries.mmdb"\n' + config.read_text())
        made.start()
        made.run("user", "add", ALICE)
        made.run("group", "add", "Sales")
        yield made
    finally:
        made.remove()


def list_names(server: Server) -> list[str]:
    return [row["name"] for row in server.json("policy", "access", "list")]


def clear(server: Server) -> None:
    for path in ("tests", "access", "locations", "strengths"):
        for row in server.api("GET", f"/policies/{path}").json():
            if row["document"].get("policyType") != "builtIn":
                server.api("DELETE", f"/policies/{path}/{row['name']}")


@pytest.fixture(autouse=True)
def _nothing_before(served: Server) -> None:
    clear(served)


def test_a_location_is_added_shown_changed_and_removed(served: Server) -> None:
    served.run(
        "policy", "location", "add", "Office", "--range", "192.0.2.0/24", "--range", "2001:db8::/48", "--trusted"
    )
    served.run("policy", "location", "add", "Far", "--country", "kp", "--include-unknown")
    rows = {row["name"]: row for row in served.json("policy", "location", "list")}
    assert rows["Office"]["document"]["isTrusted"] is True
    assert rows["Far"]["document"]["countriesAndRegions"] == ["KP"]
    shown = served.run("policy", "location", "show", "office").stdout
    assert "Trusted: yes" in shown and "2001:db8::/48" in shown
    table = served.run("policy", "location", "list").stdout
    assert "KP, unknown countries" in table
    assert "--replace" in refuse(served, "policy", "location", "add", "Office", "--range", "198.51.100.0/24")
    served.run("policy", "location", "add", "Office", "--range", "198.51.100.0/24", "--replace")
    assert served.json("policy", "location", "show", "Office")["document"]["isTrusted"] is False
    served.run("policy", "location", "remove", "Office")
    assert "evertunnel policy location list" in refuse(served, "policy", "location", "show", "Office")
    assert "no range" in refuse(served, "policy", "location", "add", "x", "--range", "office")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_of_every_encoding_are_read(served: Server, encoding: str) -> None:
    path = write(served, "location.json", ENCODINGS[encoding](json.dumps(OFFICE, ensure_ascii=False)))
    assert "Added 1: Büro." in served.run("policy", "location", "import", path).stdout
    assert served.json("policy", "location", "show", PLACE)["document"] == OFFICE


def test_strengths_go_in_and_out(served: Server) -> None:
    path = write(served, "strengths.json", json.dumps({"value": [
        {"id": "00000000-0000-0000-0000-000000000002", "displayName": "Multifactor authentication",
         "policyType": "builtIn", "allowedCombinations": ["fido2"]},
        {"id": "own", "displayName": "Keys only", "policyType": "custom", "allowedCombinations": ["fido2"]},
    ]}))  # fmt: skip
    done = served.run("policy", "strength", "import", path).stdout
    assert "Added 1: Keys only." in done and "built in: 1: Multifactor" in done
    assert [row["name"] for row in served.json("policy", "strength", "list")] == [
        "Multifactor authentication", "Passwordless MFA", "Phishing-resistant MFA", "Keys only",
    ]  # fmt: skip
    assert "fido2" in served.run("policy", "strength", "show", "phishing-resistant mfa").stdout
    served.run("policy", "strength", "remove", "own")
    assert "there is no authentication strength" in refuse(served, "policy", "strength", "remove", "own")


@pytest.fixture
def folder(served: Server, tmp_path: Path) -> Path:
    """Exported policies, and what their ids are called here."""
    (tmp_path / "exported").mkdir()
    for number, encode in enumerate(ENCODINGS.values()):
        document = from_entra(f"Policy {number}")
        (tmp_path / "exported" / f"{number}.json").write_bytes(encode(json.dumps(document)))
    (tmp_path / "exported" / "notes.txt").write_text("not of the export")
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    return tmp_path


def import_all(served: Server, folder: Path, *options: str, check: bool = True) -> Any:
    arguments = ("policy", "access", "import", str(folder / "exported"), "--map", str(folder / "map.json"), *options)
    return served.run(*arguments, check=check)


def test_what_is_unresolved_is_listed_with_file_and_path_and_nothing_is_imported(served: Server, folder: Path) -> None:
    (folder / "map.json").write_text(json.dumps({key: name for key, name in MAP.items() if key != GROUP}))
    done = import_all(served, folder, check=False)
    assert done.returncode == 1
    for number in range(4):
        assert f"{number}.json: $.conditions.users.includeGroups[0]: there is no group '{GROUP}'" in done.stderr
        assert f"{number}.json: $.conditions.locations.excludeLocations[0]: there is no location" in done.stderr
    assert done.stderr.splitlines()[-1] == "evertunnel: 8 problems, listed above; nothing was changed"
    assert list_names(served) == []


def test_a_folder_is_checked_imported_and_exported_as_it_was(served: Server, folder: Path) -> None:
    served.run("policy", "location", "add", "Office", "--range", "192.0.2.0/24")
    checked = import_all(served, folder, "--check").stdout
    assert "Policy 3: on" in checked and "Nothing was imported. 4 can be." in checked
    assert list_names(served) == []
    planned = json.loads(import_all(served, folder, "--check", "--json").stdout)
    assert [(each["state"], each["unevaluable"]) for each in planned] == [("enabled", [])] * 4
    assert "Imported 4: Policy 0" in import_all(served, folder).stdout
    assert "already" in import_all(served, folder, check=False).stderr
    exported = json.loads(served.run("policy", "access", "export").stdout)
    assert exported == [from_entra(f"Policy {number}") for number in range(4)]
    (one,) = json.loads(served.run("policy", "access", "export", "Policy 2").stdout)
    assert one == from_entra("Policy 2")
    out = folder / "out"
    served.run("policy", "access", "export", "--output", str(out))
    assert {path.name: json.loads(path.read_text()) for path in out.iterdir()} == {
        f"Policy {number}.json": from_entra(f"Policy {number}") for number in range(4)
    }
    assert "is there already" in refuse(served, "policy", "access", "export", "--output", str(out))
    assert "'nothing'" in refuse(served, "policy", "access", "export", "nothing")
    assert "'Policy 0', 'Policy 1'" in refuse(served, "policy", "location", "remove", "Office")
    # What was exported can be imported again.
    clear(served)
    served.run("policy", "location", "add", "Office", "--range", "192.0.2.0/24")
    served.run("policy", "access", "import", str(out), "--map", str(folder / "map.json"))
    assert list_names(served) == [f"Policy {number}" for number in range(4)]


def test_what_cannot_be_evaluated_is_said_before_and_at_the_import(served: Server) -> None:
    document = from_entra("Odd") | {"state": "enabledForReportingButNotEnforced"}
    document["conditions"] = {
        "users": {"includeUsers": ["All"], "includeRoles": ["62e90394-69f5-4237-9190-012177145e10"]},
        "applications": {"includeApplications": ["All"]},
        "clientAppTypes": ["all"],
    }
    document["grantControls"] = {"operator": "OR", "builtInControls": ["compliantApplication"]}
    document["sessionControls"] = {"persistentBrowser": {"isEnabled": True, "mode": "never"}}
    path = write(served, "odd.json", json.dumps(document))
    for options in (("--check",), ()):
        said = served.run("policy", "access", "import", path, *options).stdout
        assert "Odd: report-only" in said
        assert "cannot be evaluated, which will restrict once the policy is on: $.conditions.users.includeRoles" in said
        assert "has no meaning here: $.sessionControls.persistentBrowser" in said
    assert "compliantApplication, persistentBrowser" in served.run("policy", "access", "list").stdout


BAD_FILES = {
    "a key twice": (b'{"state": "enabled", "state": "disabled"}', "key 'state' twice"),
    "half a character": (b'{"displayName": "\xff"}', "neither UTF-8 nor UTF-16"),
    "very deep": (b"[" * 100_000, "cannot be read"),
    "too large": (b" " * (4 * 1024 * 1024 + 1), "larger than 4 MiB"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_cannot_be_read_is_one_line(served: Server, what: str) -> None:
    data, words = BAD_FILES[what]
    assert words in refuse(served, "policy", "access", "import", write(served, "bad.json", data))


def test_a_map_that_is_none_and_an_empty_folder_are_told(served: Server, tmp_path: Path) -> None:
    good = write(served, "good.json", json.dumps(from_entra()))
    bad_map = write(served, "map.json", '["x"]')
    assert "must be a JSON object" in refuse(served, "policy", "access", "import", good, "--map", bad_map)
    assert "holds no file" in refuse(served, "policy", "access", "import", str(tmp_path))


def test_a_template_is_one_command(served: Server) -> None:
    said = served.run(
        "policy", "access", "add-template", "block-countries", "--country", "KP", "--exclude-group", "Sales"
    )
    assert "VPN: block countries: report-only" in said.stdout
    assert "cannot be evaluated" not in said.stdout
    (row,) = served.json("policy", "access", "list")
    assert row["document"]["conditions"]["users"]["excludeGroups"] == ["Sales"]
    assert [each["name"] for each in served.json("policy", "location", "list")] == ["VPN: block countries"]
    said = served.run("policy", "access", "add-template", "require-mfa", "--on", "--name", "Second factor")
    assert "Second factor: on" in said.stdout and "--exclude-group" in said.stdout
    assert "require-mfa" in refuse(served, "policy", "access", "add-template", "nonsense")


ABROAD = {"name": "from abroad", "user": ALICE, "address": "198.51.100.7", "expect": "block", "policy": "Elsewhere"}
OFFICE_GRANT = {"name": "from the office", "user": ALICE, "address": "192.0.2.7", "expect": "grant"}


@pytest.fixture
def tested(served: Server) -> Iterator[Server]:
    """Alice may come from the office and from nowhere else, and two tests say so."""
    served.api("POST", "/policies/network", {"name": "Everybody", "document": {"permission": "grant"}})
    served.api("POST", "/policies/locations", {"name": "Office", "ranges": ["192.0.2.0/24"]})
    document = make_document("block", name="Elsewhere")
    document["conditions"]["locations"] = {"includeLocations": ["All"], "excludeLocations": ["Office"]}
    served.api("POST", "/policies/access", document)
    served.api("POST", "/policies/tests/import", {"files": [{"name": "", "data": [ABROAD, OFFICE_GRANT]}]})
    yield served
    clear(served)
    served.api("DELETE", "/policies/network/Everybody")


def test_a_change_that_fails_tests_is_refused_with_all_of_them(tested: Server) -> None:
    said = refuse(tested, "policy", "access", "switch", "Elsewhere", "off")
    assert "policy test 'from abroad': expected block by 'Elsewhere', got grant" in said
    assert "conditional access policy 'Elsewhere': notEnabled (policyNotEnabled)" in said
    assert "nothing was changed" in said and "evertunnel policy test remove" in said
    replace = ("policy", "location", "add", "Office", "--range", "198.51.100.0/24", "--replace")
    done = tested.run(*replace, check=False)
    assert done.returncode == 1
    assert "  policy test 'from abroad'" in done.stderr and "  policy test 'from the office'" in done.stderr
    assert "2 problems, listed above; nothing was changed: try the change with" in done.stderr.splitlines()[-1]
    (location,) = tested.api("GET", "/policies/locations").json()
    assert [each["cidrAddress"] for each in location["document"]["ipRanges"]] == ["192.0.2.0/24"]


def test_tests_go_in_and_out_and_are_run(tested: Server) -> None:
    at_home = ("--user", ALICE, "--country", "FR", "--no-device-tunnel", "--insider-risk", "minor")
    tested.run("policy", "test", "add", "at home", *at_home, "--expect", "block")
    path = write(tested, "tests.json", tested.run("policy", "test", "export", "at home").stdout)
    assert "Replaced 1: at home." in tested.run("policy", "test", "import", path, "--replace").stdout
    listed = tested.run("policy", "test", "list").stdout
    assert all(given in listed for given in ("country=FR", "own_tunnel=false", "insider_risk=minor"))
    shown = tested.run("policy", "test", "show", "AT HOME").stdout
    assert '"expect": "block"' in shown
    tested.run("policy", "test", "remove", "at home")
    assert "2 passed, 0 failed." in tested.run("policy", "test", "run").stdout
    draft = write(tested, "draft.json", json.dumps({**ABROAD, "policy": None, "expect": "grant"}))
    done = tested.run("policy", "test", "run", "--file", draft, check=False)
    assert done.returncode == 1
    assert "from abroad: expected grant, got block (blocked_by_access_policy)" in done.stdout
    assert "conditional access policy Elsewhere: failure: blocks access" in done.stdout


def test_who_changed_what_is_shown_compared_and_rolled_back(tested: Server) -> None:
    tested.api("DELETE", "/policies/tests/from abroad")
    tested.api("PATCH", "/policies/access/Elsewhere", {"state": "report-only"})
    (newest, first) = tested.json("policy", "history", "Elsewhere")[:2]
    assert (newest["change"], first["change"]) == ("switched to report-only", "imported")
    assert newest["version"] == first["version"] + 1 and newest["actor"] and newest["kind"] == "access"
    assert "switched to report-only" in tested.run("policy", "history", "--limit", "1").stdout
    lines = tested.run("policy", "diff", "Elsewhere").stdout
    assert '\n-  "state": "enabled"' in lines and '\n+  "state": "enabledForReportingButNotEnforced"' in lines
    tested.api("DELETE", "/policies/access/Elsewhere")
    rollback = ("policy", "rollback", "Elsewhere", "--to", str(first["version"]))
    assert "there again" in tested.run(*rollback).stdout
    assert "already" in refuse(tested, *rollback)
    (row,) = tested.api("GET", "/policies/access").json()
    assert row["document"]["state"] == "enabled"


def test_text_of_a_document_cannot_drive_the_terminal(served: Server) -> None:
    document = make_document("block", name="Odd", users={"includeUsers": ["None"]})
    served.api("POST", "/policies/access", document | {"description": "one\u202etwo\x1b[2J\u2028"})
    shown = served.run("policy", "diff", "Odd").stdout
    assert '+  "description": "one�two\\u001b[2J' in shown
    assert not {"\x1b", "\u202e"} & set(shown)


def test_a_server_starts_with_policies_that_fail_their_tests_and_says_so(tested: Server) -> None:
    group = {"name": "Denied", "document": {"permission": "deny", "conditions": {"groups": ["Sales"]}}, "position": 1}
    tested.api("POST", "/policies/network", group)
    tested.run("group", "join", "Sales", "--user", ALICE)
    assert tested.api("POST", "/policies/tests/run", {}).json()["failed"] == 1
    tested.stop()
    tested.start()
    wait_for(lambda: "policies fail their tests" in tested.log.read_text())
    assert "from the office" in tested.log.read_text()
    tested.api("DELETE", "/policies/network/Denied")


OURS = {"leastSource": "mdm", "requireDeviceTunnel": True}


def test_what_a_policy_says_in_words_of_ours_survives_and_is_read_strictly(served: Server) -> None:
    document = make_document("compliantDevice", name="Ours") | {"evertunnel": OURS}
    path = write(served, "ours.json", json.dumps(document))
    said = served.run("policy", "access", "import", path).stdout
    assert "cannot be evaluated" not in said
    assert json.loads(served.run("policy", "access", "export", "Ours").stdout) == [document]
    listed = served.run("policy", "access", "list").stdout
    assert "compliantDevice, deviceTunnel, facts from mdm at least" in listed
    served.run("device", "add", LAPTOP)
    question = ("--user", ALICE, "--device", LAPTOP, "--compliant")
    found = served.json("policy", "what-if", *question, "--device-tunnel")
    (ours,) = (row for row in found["access"]["policies"] if row["policy"] == "Ours")
    assert (ours["result"], ours["missing"]) == ("success", [])
    found = served.json("policy", "what-if", *question, "--no-device-tunnel")
    assert found["access"]["missing"] == ["deviceTunnel"]
    for wrong, words in (
        ({"leastSource": "intune"}, "$.evertunnel.leastSource: 'intune' is not one of device, import, script, mdm"),
        ({"leastSources": "mdm"}, "$.evertunnel.leastSources: is not known here"),
    ):
        path = write(served, "wrong.json", json.dumps(document | {"displayName": "Wrong", "evertunnel": wrong}))
        assert words in refuse(served, "policy", "access", "import", path)


def test_a_risk_is_shown_with_its_source_and_only_what_was_found_is_dismissed(served: Server) -> None:
    assert "nothing was found" in served.run("user", "risk", ALICE).stdout
    served.run("user", "report", ALICE, "--user-risk", "low", "--life-hours", "1")
    (row,) = served.json("user", "risk", ALICE)
    assert (row["fact"], row["value"], row["source"], row["counts"]) == ("user_risk", "low", "administrator", "yes")
    assert "nothing that we found makes" in refuse(served, "user", "dismiss-risk", ALICE, "--reason", "a mistake")
