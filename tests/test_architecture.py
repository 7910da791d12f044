"""Holds the direction table of ARCHITECTURE.md: walks our imports and refuses those the table does not name."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "evertunnel"

NOUNS = {"model", "errors", "audit", "effects"}
PURE = {"protocols", "pki", "access", "profiles", "diagnosis"}

# part -> what of ours it may import, besides itself. Everything that is not named here is a rim of app.py.
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(NOUNS, NOUNS),
    "clock": set(),
    "rate_limit": set(),
    "protocols": set(),
    "pki": NOUNS,
    "access": NOUNS,
    "diagnosis": NOUNS,
    "profiles": NOUNS,
    "storage": NOUNS,
    "passwords": NOUNS,
    "totp": set(),
    "actions": NOUNS | {"storage", "pki", "access", "diagnosis", "profiles", "protocols", "passwords", "totp"},
    "vici_connection": NOUNS | {"protocols"},
    "keystore": NOUNS | {"pki"},
    "accounts": NOUNS | {"config", "privileges"},
    "config_text": set(),
    "backup_archive": NOUNS,
    "sealed_keys": NOUNS | {"backup_archive"},
    "backup": NOUNS
    | {"__init__", "backup_archive", "clock", "config", "installation", "keystore", "pki", "sealed_keys"},
    "restore": NOUNS
    | {
        "accounts",
        "backup_archive",
        "clock",
        "config",
        "config_text",
        "keystore",
        "sealed_keys",
        "state_folder",
        "storage",
    },
    "sealing_key": NOUNS
    | {"backup_archive", "clock", "config", "config_text", "installation", "keystore", "pki", "sealed_keys"},
    "new_server_key": NOUNS | {"actions", "authority_keys", "clock", "installation", "pki", "signer", "storage"},
    "authority_keys": NOUNS | {"keystore", "pki"},
    "authority_maker": NOUNS | {"authority_keys", "pki", "storage"},
    "root_key": NOUNS | {"clock", "installation", "keystore", "pki", "signer", "storage"},
    "signer": NOUNS | {"pki", "storage"},
    "signer_socket": NOUNS | {"signer"},
    "gateways": NOUNS
    | {"actions", "storage", "protocols", "pki", "profiles", "keystore", "rate_limit", "vici_connection"},
    "servers": NOUNS | {"actions", "storage", "protocols", "clock", "config", "rate_limit"},
    "web": NOUNS | {"__init__", "rate_limit", "actions", "storage", "pki", "diagnosis", "access", "profiles", "totp"},
    "connector": NOUNS | {"protocols", "vici_connection"},
    "lab": NOUNS | {"connector", "vici_connection"},
    "state_folder": NOUNS | {"keystore", "privileges"},
    "privileges": NOUNS,
    "server_certificate": NOUNS | {"actions", "pki", "storage"},
    "radsec": NOUNS | {"actions", "clock", "installation", "keystore", "pki", "servers", "signer_socket", "storage"},
    "radius_worker": NOUNS
    | {"actions", "clock", "installation", "protocols", "server_certificate", "servers", "signer_socket", "storage"},
    "deadlines": NOUNS | {"actions", "storage"},
    "risks": NOUNS | {"access", "actions", "storage"},
    "config": NOUNS,
    "countries": {"access"},
    "installation": NOUNS | {"config", "countries", "pki", "privileges", "state_folder", "storage"},
    "supervisor": set(),
    "notify": set(),
    "logs": set(),
    "preload": set(),
    "initialise": NOUNS
    | {"accounts", "actions", "clock", "config", "keystore", "pki", "privileges", "signer", "state_folder", "storage"},
    "cli": NOUNS
    | {
        "__init__",
        "accounts",
        "app",
        "connector",
        "gateways",
        "initialise",
        "lab",
        "logs",
        "notify",
        "pki",
        "profiles",
        "backup",
        "restore",
        "new_server_key",
        "root_key",
        "sealing_key",
        "clock",
        "installation",
        "privileges",
        "state_folder",
        "vici_connection",
    },
    "__main__": {"cli"},
}

# Pure parts do no I/O, read no clock, write no log and make no randomness of their own.
IMPURE_MODULES = {
    "asyncio", "io", "logging", "os", "pathlib", "random", "secrets", "shutil", "socket", "sqlalchemy", "sqlite3",
    "structlog", "subprocess", "tempfile", "threading", "time", "urllib", "http",
}  # fmt: skip
# Texts in, texts out, although their packages do more.
PURE_MODULES = {"urllib.parse"}
# RADIUS never holds what it must not be able to lose.
NEVER_IN_RADIUS = {"signer", "signer_socket", "web", "vici_connection", "gateways", "cli"}


def list_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0].removesuffix(".py")


def list_imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = node.module or ""
            found += [f"{module}.{alias.name}" for alias in node.names] if module == "evertunnel" else [module]
    return found


def find_parts(path: Path) -> set[str]:
    """Parts of ours that a file imports."""
    parts = set()
    for name in list_imports(path):
        if name == "evertunnel.__version__":
            parts.add("__init__")
        elif name.startswith("evertunnel."):
            parts.add(name.split(".")[1])
    return parts


@pytest.mark.parametrize("path", list_files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_follow_the_direction_table(path: Path) -> None:
    part = part_of(path)
    if part in ("app", "__init__"):  # app.py builds and sees all
        return
    assert part in ALLOWED, f"{part} is new: give it a place in the direction table"
    wrong = find_parts(path) - ALLOWED[part] - {part}
    assert not wrong, f"{part} may not import {', '.join(sorted(wrong))}"


@pytest.mark.parametrize(
    "path", [path for path in list_files() if part_of(path) in PURE], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_pure_parts_stay_pure(path: Path) -> None:
    wrong = {name.split(".")[0] for name in list_imports(path) if name not in PURE_MODULES} & IMPURE_MODULES
    assert not wrong, f"a pure part imports {', '.join(sorted(wrong))}"


def test_the_radius_side_has_no_way_to_keys_or_gateways() -> None:
    seen: set[str] = set()
    waiting = {"servers"}
    while waiting:
        part = waiting.pop()
        seen.add(part)
        for path in list_files():
            if part_of(path) == part:
                waiting |= find_parts(path) - seen
    assert not seen & NEVER_IN_RADIUS


def test_an_agent_has_no_way_to_what_the_server_stores_or_holds() -> None:
    """It runs on another host: what it imports is on every gateway's disk, and in its memory."""
    named = {".".join(("evertunnel", *path.relative_to(SOURCE).with_suffix("").parts)): path for path in list_files()}
    waiting = [path for name, path in named.items() if name.startswith("evertunnel.gateways.agent.")]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        names = [name for name in list_imports(path) if name in named]
        waiting += [named[name] for name in names if named[name] not in seen]
    assert not {part_of(path) for path in seen} & {"storage", "actions", "signer", "keystore", "app", "servers", "web"}
    assert len(seen) > 15


def test_the_command_line_reaches_gateways_through_the_agent_only() -> None:
    for path in list_files():
        if part_of(path) == "cli":
            found = [name for name in list_imports(path) if name.startswith("evertunnel.gateways")]
            assert all(name.startswith("evertunnel.gateways.agent.") for name in found), path


def test_only_cli_lab_imports_the_lab() -> None:
    importers = {path.name for path in list_files() if "lab" in find_parts(path) and part_of(path) != "lab"}
    assert importers == {"lab.py"}


def test_the_table_names_only_what_exists() -> None:
    parts = {part_of(path) for path in list_files()}
    assert set(ALLOWED) <= parts, f"gone: {set(ALLOWED) - parts}"
