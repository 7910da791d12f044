"""evertunnel compliance."""

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.cut import CUT
from evertunnel.cli.output import clean, fail, print_json, print_table, say, short_time

app = typer.Typer(no_args_is_help=True, help="Compliance policies: what a device of each platform must be like.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_LARGEST_FILE = 1024 * 1024


@app.command("list")
def list_policies(context: typer.Context, json: JSON = False) -> None:
    """List the compliance policies.

    Example: evertunnel compliance list
    """
    rows = API(context).get("compliance")
    if json:
        print_json(rows)
        return
    print_table(
        [
            row
            | {
                "demands": [
                    rule if value is True else f"{rule}={json_format.dumps(value)}"
                    for rule, value in row["document"]["rules"].items()
                ],
                "grace": row["document"].get("gracePeriodDays", 0),
                "changed_at": short_time(row["changed_at"]),
            }
            for row in rows
        ],
        {"platform": "PLATFORM", "demands": "DEMANDS", "grace": "DAYS OF GRACE", "changed_at": "CHANGED"},
        empty="No compliance policies: what devices report makes none compliant. See docs/compliance.md.",
    )


@app.command()
def show(
    context: typer.Context,
    platform: str,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, as without it.")] = True,  # noqa: ARG001
) -> None:
    """Show a platform's policy as JSON, as it can be imported.

    Example: evertunnel compliance show linux
    """
    print_json(API(context).get("compliance", platform)["document"])


@app.command("import")
def import_policies(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON: one policy or an array.")],
    *,
    cut: CUT = False,
) -> None:
    """Import compliance policies; every device is judged anew at once, and live tunnels may end: many only with --cut.

    Example: evertunnel compliance import windows.json
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_LARGEST_FILE + 1)
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    if len(data) > _LARGEST_FILE:
        fail(f"{file} is larger than a megabyte")
    try:
        document = json_format.loads(data.decode("utf-8-sig") if data[1:2] != b"\0" else data)
    except (ValueError, RecursionError) as error:
        fail(f"{file} is not JSON: {error}")
    done = API(context).post("compliance", body=document, confirmed=cut)
    for platform in done["platforms"]:
        say(f"Imported the compliance policy for {platform}.")
    say(f"{done['changed']} devices are judged otherwise now.")


@app.command()
def remove(context: typer.Context, platform: str, *, cut: CUT = False) -> None:
    """Remove a platform's policy; what its devices report makes none of them compliant any more.

    Example: evertunnel compliance remove linux
    """
    API(context).delete("compliance", platform, confirmed=cut)
    say(f"Removed the compliance policy for {platform}.")


@app.command()
def check(context: typer.Context, device: str, json: JSON = False) -> None:
    """Explain rule by rule whether a device is compliant, and what each source says. Exit 0 whatever the answer.

    Example: evertunnel compliance check laptop1.corp.example
    """
    found = API(context).get("compliance", "checks", device)
    if json:
        print_json(found)
        return
    words = {True: "compliant", False: "not compliant", None: "not known to be compliant"}
    say(f"{found['device']} is {words[found['compliant']]}: {found['because']}")
    if found["verdict"]["detail"]:
        say(f"By its posture: {words[found['verdict']['compliant']]}; {found['verdict']['detail']}.")
    results = {True: "met", False: "failed", None: "unknown"}
    if found["rules"]:
        print_table(
            [row | {"result": results[row["met"]]} for row in found["rules"]],
            {"rule": "RULE", "result": "RESULT", "words": "WHY", "source": "SOURCE"},
            empty="",
        )
    for fact in found["facts"]:
        ends = f" until {short_time(fact['expires_at'])}" if fact["expires_at"] else ""
        old = "" if fact["counts"] else " (too old)"
        typer.echo(
            clean(f"  {fact['source']}: {fact['name']}={fact['value']} at {short_time(fact['observed_at'])}{ends}{old}")
        )
