"""evertunnel policy location."""

from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.json_files import read_json_files
from evertunnel.cli.output import print_json, print_table, say

app = typer.Typer(no_args_is_help=True, help="Named locations: ranges of addresses or countries that policies name.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Replace = Annotated[bool, typer.Option("--replace", help="Take the place of one of the same id or name.")]
_SHOWN_AT_MOST = 5


@app.command("list")
def list_locations(context: typer.Context, json: JSON = False) -> None:
    """List named locations.

    Example: evertunnel policy location list --json
    """
    rows = API(context).get("policies", "locations")
    if json:
        print_json(rows)
        return
    print_table(
        [
            {
                "name": row["name"],
                "holds": _shorten(_list_content(row["document"])),
                "trusted": bool(row["document"].get("isTrusted")),
                "policies": row["policies"],
            }
            for row in rows
        ],
        {"name": "LOCATION", "holds": "HOLDS", "trusted": "TRUSTED", "policies": "NAMED BY"},
        empty="No named locations. Add one: evertunnel policy location add",
    )


@app.command("show")
def show_location(context: typer.Context, name: str, json: JSON = False) -> None:
    """Show all that a named location holds.

    Example: evertunnel policy location show Office
    """
    row = API(context).get("policies", "locations", name)
    if json:
        print_json(row)
        return
    say(f"{row['name']} ({row['id']})")
    say(f"Trusted: {'yes' if row['document'].get('isTrusted') else 'no'}")
    say(f"Named by: {', '.join(row['policies']) or 'no policy'}")
    for content in _list_content(row["document"]):
        say(f"  {content}")


@app.command("add")
def add_location(
    context: typer.Context,
    name: str,
    *,
    ranges: Annotated[list[str] | None, typer.Option("--range", help="Addresses, such as 192.0.2.0/24.")] = None,
    trusted: Annotated[bool, typer.Option("--trusted", help="AllTrusted in policies means it too.")] = False,
    country: Annotated[list[str] | None, typer.Option(help="A country, as two letters.")] = None,
    include_unknown: Annotated[
        bool, typer.Option("--include-unknown", help="Addresses that no country has, too.")
    ] = False,
    replace: Replace = False,
    cut: CUT = False,
) -> None:
    """Add a named location: ranges of addresses, or countries. Several of either are given by repeating the option.

    Example: evertunnel policy location add Office --range 192.0.2.0/24 --range 2001:db8::/48 --trusted
    """
    body = {
        "name": name,
        "ranges": ranges or [],
        "trusted": trusted,
        "countries": country or [],
        "include_unknown": include_unknown,
        "replace": replace,
    }
    done = API(context).post("policies", "locations", body=body, confirmed=cut)
    say(f"{'Replaced' if done['replaced'] else 'Added'} named location {name}.")


@app.command("import")
def import_locations(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of Graph JSON, or folders of them.")],
    *,
    replace: Replace = False,
    cut: CUT = False,
) -> None:
    """Import named locations as Graph writes them, all of it or nothing.

    Example: evertunnel policy location import locations.json
    """
    body = build_import(paths, replace=replace)
    say_imported(API(context).post("policies", "locations", "import", body=body, confirmed=cut))


@app.command("remove")
def remove_location(context: typer.Context, name: str, *, cut: CUT = False) -> None:
    """Remove a named location that no policy names.

    Example: evertunnel policy location remove Office
    """
    API(context).delete("policies", "locations", name, confirmed=cut)
    say(f"Removed {name}.")


def build_import(paths: list[Path], *, replace: bool) -> dict[str, Any]:
    """The body of an import."""
    return {"files": read_json_files(paths), "replace": replace}


def say_imported(done: dict[str, list[str]]) -> None:
    """What became of an import."""
    for word, key in (("Added", "added"), ("Replaced", "replaced"), ("Left out, because built in:", "built_in")):
        if done[key]:
            say(f"{word} {len(done[key])}: {', '.join(done[key])}.")
    if not any(done.values()):
        say("There was nothing to import.")


def _list_content(document: dict[str, Any]) -> list[str]:
    found = [
        each.get("cidrAddress") or f"{each.get('lowerAddress')} to {each.get('upperAddress')}"
        for each in document.get("ipRanges") or ()
    ]
    found += document.get("countriesAndRegions") or ()
    if document.get("includeUnknownCountriesAndRegions"):
        found.append("unknown countries")
    return found


def _shorten(content: list[str]) -> list[str]:
    more = len(content) - _SHOWN_AT_MOST
    return content if more <= 0 else [*content[:_SHOWN_AT_MOST], f"and {more} more"]
