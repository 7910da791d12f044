"""evertunnel policy strength."""

from pathlib import Path
from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.output import print_json, print_table, say
from evertunnel.cli.policy_locations import JSON, Replace, build_import, say_imported

app = typer.Typer(no_args_is_help=True, help="Authentication strengths: sets of methods that policies demand.")


@app.command("list")
def list_strengths(context: typer.Context, json: JSON = False) -> None:
    """List authentication strengths, those built in first.

    Example: evertunnel policy strength list --json
    """
    rows = API(context).get("policies", "strengths")
    if json:
        print_json(rows)
        return
    print_table(
        [
            {
                "name": row["name"],
                "built_in": row["document"].get("policyType") == "builtIn",
                "combinations": len(row["document"]["allowedCombinations"]),
                "policies": row["policies"],
            }
            for row in rows
        ],
        {"name": "STRENGTH", "built_in": "BUILT IN", "combinations": "COMBINATIONS", "policies": "NAMED BY"},
        empty="No authentication strengths.",
    )


@app.command("show")
def show_strength(context: typer.Context, name: str, json: JSON = False) -> None:
    """Show the combinations of methods that a strength allows.

    Example: evertunnel policy strength show "Phishing-resistant MFA"
    """
    row = API(context).get("policies", "strengths", name)
    if json:
        print_json(row)
        return
    say(f"{row['name']} ({row['id']})")
    say(f"Named by: {', '.join(row['policies']) or 'no policy'}")
    for combination in row["document"]["allowedCombinations"]:
        say(f"  {combination.replace(',', ' and ')}")


@app.command("import")
def import_strengths(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of Graph JSON, or folders of them.")],
    *,
    replace: Replace = False,
    cut: CUT = False,
) -> None:
    """Import authentication strengths as Graph writes them, all of it or nothing.

    Example: evertunnel policy strength import strengths.json
    """
    body = build_import(paths, replace=replace)
    say_imported(API(context).post("policies", "strengths", "import", body=body, confirmed=cut))


@app.command("remove")
def remove_strength(context: typer.Context, name: str) -> None:
    """Remove an authentication strength that no policy names.

    Example: evertunnel policy strength remove "Tokens only"
    """
    API(context).delete("policies", "strengths", name)
    say(f"Removed {name}.")
