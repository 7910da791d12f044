"""evertunnel policy test."""

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.json_files import read_json_files
from evertunnel.cli.output import fail, print_json, print_table, say, short_time

app = typer.Typer(
    no_args_is_help=True, help="Self-tests of policies: a change of policies that makes one fail is refused."
)

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of one of the same name.")]
_EXPECTATION = ("name", "for", "user", "device", "expect", "reason", "policy")


@app.command("add")
def add_test(
    context: typer.Context,
    name: str,
    *,
    expect: Annotated[str, typer.Option(help="grant or block: what must come of it.")],
    user: Annotated[str | None, typer.Option(help="Who signs in.")] = None,
    device: Annotated[str | None, typer.Option(help="On which device.")] = None,
    gateway: Annotated[str | None, typer.Option(help="At which gateway.")] = None,
    what: Annotated[
        str, typer.Option("--for", help="user-tunnel, device-tunnel, or certificate: a short-lived one.")
    ] = "user-tunnel",
    certificate: Annotated[
        str | None, typer.Option(help="user, device or short-lived: what the tunnel is asked for with.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="It comes from this address.")] = None,
    country: Annotated[str | None, typer.Option(help="It comes from this country, two letters.")] = None,
    platform: Annotated[str | None, typer.Option(help="windows, macOS, linux, iOS or android.")] = None,
    compliant: Annotated[
        bool | None, typer.Option("--compliant/--not-compliant", help="The device is, or not.")
    ] = None,
    domain_joined: Annotated[bool | None, typer.Option("--domain-joined/--not-domain-joined", help="The same.")] = None,
    device_tunnel: Annotated[
        bool | None,
        typer.Option("--device-tunnel/--no-device-tunnel", help="The device's own tunnel is up beside it, or not."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="This was passed: password, softwareOath, fido2 and so on.")
    ] = None,
    sign_in_risk: Annotated[str | None, typer.Option(help="none, low, medium or high.")] = None,
    user_risk: Annotated[str | None, typer.Option(help="none, low, medium or high.")] = None,
    insider_risk: Annotated[str | None, typer.Option(help="minor, moderate or elevated.")] = None,
    reason: Annotated[str | None, typer.Option(help="The reason it must have, as policy what-if shows it.")] = None,
    policy: Annotated[str | None, typer.Option(help="The policy that must refuse, or grant.")] = None,
    replace: Replace = False,
) -> None:
    """Add a test: who does what, and what must come of it. What is not given is unknown.

    Name the --policy that must block: without it any refusal passes.

    \b
    Example: evertunnel policy test add "alice from abroad" --user alice@corp.example --country FR --expect block \\
      --policy "Block by country"
    """
    given = {
        "name": name,
        "for": what,
        "user": user,
        "device": device,
        "gateway": gateway,
        "certificate": certificate,
        "address": address,
        "country": None if country is None else country.upper(),
        "platform": platform,
        "compliant": compliant,
        "domain_joined": domain_joined,
        "own_tunnel": device_tunnel,
        "methods": method or None,
        "sign_in_risk": sign_in_risk,
        "user_risk": user_risk,
        "insider_risk": insider_risk,
        "expect": expect,
        "reason": reason,
        "policy": policy,
    }
    document = {key: value for key, value in given.items() if value is not None}
    body = {"files": [{"name": "", "data": document}], "replace": replace}
    done = API(context).post("policies", "tests", "import", body=body)
    say(f"{'Replaced' if done['replaced'] else 'Added'} policy test {name}.")


@app.command("list")
def list_tests(context: typer.Context, json: JSON = False) -> None:
    """List tests.

    Example: evertunnel policy test list
    """
    rows = API(context).get("policies", "tests")
    if json:
        print_json(rows)
        return
    print_table(
        [
            {
                "name": row["name"],
                "for": row["document"].get("for", "user-tunnel"),
                "user": row["document"].get("user"),
                "device": row["document"].get("device"),
                "given": _list_given(row["document"]),
                "expect": row["document"]["expect"],
            }
            for row in rows
        ],
        {"name": "TEST", "for": "FOR", "user": "USER", "device": "DEVICE", "given": "WITH", "expect": "EXPECT"},
        empty="No policy tests. Add one: evertunnel policy test add",
    )


@app.command("show")
def show_test(context: typer.Context, name: str, json: JSON = False) -> None:
    """Show a test as it can be imported.

    Example: evertunnel policy test show "alice from abroad"
    """
    row = API(context).get("policies", "tests", name)
    if json:
        print_json(row)
        return
    say(f"{row['name']} ({row['id']}), changed at {short_time(row['changed_at'])} UTC")
    print_json(row["document"])


@app.command("run")
def run_tests(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Tests; default: all.")] = None,
    *,
    file: Annotated[
        list[Path] | None, typer.Option(help="Run the tests of this file instead; none of them is stored.")
    ] = None,
    json: JSON = False,
) -> None:
    """Run tests by the policies as they are. Exit 1 when one fails.

    Example: evertunnel policy test run --file tests.json
    """
    if names and file:
        fail("give names or --file, not both", code=2)
    body = {"names": names or None, "files": read_json_files(file) if file else None}
    done = API(context).post("policies", "tests", "run", body=body)
    if json:
        print_json(done)
    else:
        _show(done)
    if done["failed"]:
        raise typer.Exit(1)


@app.command("import")
def import_tests(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of tests, or folders of them.")],
    *,
    replace: Replace = False,
) -> None:
    """Import tests (one, or an array), all of them or none. One that fails as policies are is refused.

    Example: evertunnel policy test import tests.json --replace
    """
    body = {"files": read_json_files(paths), "replace": replace}
    done = API(context).post("policies", "tests", "import", body=body)
    for word, key in (("Added", "added"), ("Replaced", "replaced")):
        if done[key]:
            say(f"{word} {len(done[key])}: {', '.join(done[key])}.")
    if not any(done.values()):
        say("There was nothing to import.")


@app.command("export")
def export_tests(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Tests; default: all.")] = None,
) -> None:
    """Print tests as one array, as they can be imported.

    Example: evertunnel policy test export
    """
    api = API(context)
    rows = [api.get("policies", "tests", name) for name in names] if names else api.get("policies", "tests")
    print_json([row["document"] for row in rows])


@app.command("remove")
def remove_test(context: typer.Context, name: str) -> None:
    """Remove a test; the audit says who did.

    Example: evertunnel policy test remove "alice from abroad"
    """
    API(context).delete("policies", "tests", name)
    say(f"Removed {name}.")


def _show(done: dict[str, Any]) -> None:
    print_table(
        [row | {"result": "passed" if row["passed"] else "FAILED"} for row in done["results"]],
        {"name": "TEST", "result": "RESULT", "expected": "EXPECTED", "got": "GOT"},
        empty="No policy tests. Add one: evertunnel policy test add",
    )
    for row in done["results"]:
        if row["passed"]:
            continue
        say(f"{row['name']}: {row['problem']}")
        if row["detail"]:
            say(f"  {row['detail']}")
        for said in row["deciding"]:
            condition = f" ({said['condition']})" if said["condition"] else ""
            say(f"  {said['kind']} policy {said['policy']}: {said['result']}{condition}: {said['detail']}")
    if done["results"]:
        say(f"{done['passed']} passed, {done['failed']} failed.")


def _list_given(document: dict[str, Any]) -> list[str]:
    """What is supposed, in the words of the file."""
    return [
        f"{key}={value if isinstance(value, str) else json_format.dumps(value)}"
        for key, value in document.items()
        if key not in _EXPECTATION
    ]
