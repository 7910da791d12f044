"""evertunnel policy access."""

import json as json_module
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.json_files import MAP, read_json_files, read_map
from evertunnel.cli.output import fail, print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Conditional access policies: all that apply must be satisfied.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_STATES = {"enabled": "on", "disabled": "off", "enabledForReportingButNotEnforced": "report-only"}
_UNSAFE = re.compile(r"[^\w .()-]+")
_FILE_NAME_BYTES_AT_MOST = 200


@app.command("list")
def list_access(context: typer.Context, json: JSON = False) -> None:
    """List conditional access policies.

    Example: evertunnel policy access list --json
    """
    rows = API(context).get("policies", "access")
    if json:
        print_json(rows)
        return
    print_table(
        [
            {
                "name": row["name"],
                "state": _STATES.get(row["document"]["state"], row["document"]["state"]),
                "controls": _list_demands(row["document"]),
            }
            for row in rows
        ],
        {"name": "POLICY", "state": "STATE", "controls": "DEMANDS"},
        empty="No conditional access policies. Import some: evertunnel policy access import FILE",
    )


@app.command("import")
def import_access(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of Graph JSON, or folders of them.")],
    *,
    map_file: MAP = None,
    check: Annotated[bool, typer.Option("--check", help="Import nothing; say what would be imported.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of one of the same name.")] = False,
    cut: CUT = False,
    json: JSON = False,
) -> None:
    """Import Graph JSON (a policy, an array, or an answer with value), all of it or nothing.

    Users, groups, named locations and strengths are found by id or name, or through --map, whose names for an
    application are VPN or another. What is not found is listed, and then nothing is imported.

    Example: evertunnel policy access import exported/ --map names.json --check
    """
    body = {"map": read_map(map_file), "files": read_json_files(paths), "check": check, "replace": replace}
    planned = API(context).post("policies", "access", "import", body=body, confirmed=cut)
    if json:
        print_json(planned)
        return
    for policy in planned:
        _say_planned(policy)
    if not check:
        say(f"Imported {len(planned)}: {', '.join(policy['name'] for policy in planned)}.")
    else:
        say(f"Nothing was imported. {len(planned)} can be.")


@app.command("export")
def export_access(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Policies; default: all.")] = None,
    *,
    output: Annotated[Path | None, typer.Option(help="Write a file each into this folder.")] = None,
) -> None:
    """Print policies as one array of Graph JSON, as they were imported, or write a file each.

    Example: evertunnel policy access export --output exported
    """
    rows = API(context).get("policies", "access")
    known = {key: row for row in rows for key in (row["id"], row["name"])}
    if missing := [name for name in names or () if name not in known]:
        fail(f"there is no conditional access policy {', '.join(map(repr, missing))}")
    chosen = [known[name] for name in names] if names else rows
    if output is None:
        print_json([row["document"] for row in chosen])
        return
    taken: set[str] = set()
    for row in chosen:
        _write(output / _choose_file_name(row["name"], taken), row["document"])
    say(f"Wrote {len(chosen)} to {output}.")


@app.command("add-template")
def add_template(
    context: typer.Context,
    template: Annotated[
        str, typer.Argument(help="Which one, such as require-compliant-device; another word lists them.")
    ],
    *,
    name: Annotated[str, typer.Option(help="What to call the policy.")] = "",
    exclude_group: Annotated[
        list[str] | None, typer.Option(help="A group it is not about, such as that of the emergency accounts.")
    ] = None,
    country: Annotated[list[str] | None, typer.Option(help="For one about places: a country, as two letters.")] = None,
    location: Annotated[str, typer.Option(help="For one about places: a named location instead.")] = "",
    on: Annotated[bool, typer.Option("--on", help="Enforce it at once; else it only reports.")] = False,
    cut: CUT = False,
) -> None:
    """Add a policy that many write, report-only at first.

    require-compliant-device, require-compliant-or-joined-device-or-mfa, require-mfa, require-phishing-resistant-mfa,
    require-mfa-for-risky-sign-ins, require-password-change-for-risky-users, block-countries, block-other-countries,
    block-legacy, block-unknown-platforms.

    Example: evertunnel policy access add-template block-countries --country KP --exclude-group "Break glass"
    """
    body = {
        "template": template,
        "name": name,
        "on": on,
        "exclude_groups": exclude_group or [],
        "countries": country or [],
        "location": location,
    }
    policy = API(context).post("policies", "access", "templates", body=body, confirmed=cut)
    _say_planned(policy)
    if not exclude_group:
        say("It is about everybody. Keep a way in: exclude a group of emergency accounts with --exclude-group.")
    if not on:
        say(f'Once it reports what you expect: evertunnel policy access switch "{policy["name"]}" on')


@app.command("switch")
def switch_access(context: typer.Context, name: str, state: str, *, cut: CUT = False) -> None:
    """Set a policy on, off or report-only.

    Example: evertunnel policy access switch "Block contractors" report-only
    """
    API(context).patch("policies", "access", name, body={"state": state}, confirmed=cut)
    say(f"{name} is {state}.")


@app.command("remove")
def remove_access(context: typer.Context, name: str) -> None:
    """Remove a conditional access policy.

    Example: evertunnel policy access remove "Block contractors"
    """
    API(context).delete("policies", "access", name)
    say(f"Removed {name}.")


def _say_planned(policy: dict[str, Any]) -> None:
    """A policy, its state, and what an administrator must know of it."""
    state = _STATES.get(policy["state"], policy["state"])
    say(f"{policy['name']}: {state}")
    counts = "which restricts" if state == "on" else "which will restrict once the policy is on"
    for each in policy["unevaluable"]:
        say(f"  cannot be evaluated, {counts}: {each['path']}: {each['reason']}")
    for each in policy["without_meaning"]:
        say(f"  has no meaning here: {each['path']}: {each['reason']}")


def _list_demands(document: dict[str, Any]) -> list[str]:
    grant = document.get("grantControls") or {}
    demands = list(grant.get("builtInControls") or [])
    strength = grant.get("authenticationStrength")
    if strength:
        demands.append(str(strength.get("displayName") or strength.get("id")))
    demands += ["termsOfUse"] if grant.get("termsOfUse") else []
    demands += ["customAuthenticationFactors"] if grant.get("customAuthenticationFactors") else []
    session = document.get("sessionControls") or {}
    demands += [key for key, value in session.items() if value and "@odata" not in key]
    ours = document.get("evertunnel") or {}
    demands += ["deviceTunnel"] if ours.get("requireDeviceTunnel") else []
    return demands + ([f"facts from {ours['leastSource']} at least"] if ours.get("leastSource") else [])


def _choose_file_name(name: str, taken: set[str]) -> str:
    """A name of a file that no other policy of this export has, whatever the file system thinks of case."""
    safe = _UNSAFE.sub("_", name).strip(" .").encode()[:_FILE_NAME_BYTES_AT_MOST]
    stem = safe.decode(errors="ignore") or "policy"
    chosen, number = stem, 1
    while chosen.casefold() in taken:
        number += 1
        chosen = f"{stem} {number}"
    taken.add(chosen.casefold())
    return f"{chosen}.json"


def _write(path: Path, document: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(json_module.dumps(document, indent=2) + "\n")
    except FileExistsError:
        fail(f"{path} is there already")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
