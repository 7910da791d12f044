"""evertunnel certificate access-authority."""

import base64
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import fail, print_json, print_table, say, short_time
from evertunnel.profiles.hashes import format_hash

app = typer.Typer(
    no_args_is_help=True,
    help="Who signs short-lived certificates, who will next, and who did. Entra: VPN connectivity.",
)

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="A name such as access-2, a key identifier or a thumbprint.")]


class Format(StrEnum):
    """How to write its certificate."""

    PEM = "pem"
    DER = "der"
    PKCS7 = "pkcs7"


@app.command("list")
def list_access_authorities(context: typer.Context, json: JSON = False) -> None:
    """List them in the order in which they were made.

    Example: evertunnel certificate access-authority list
    """
    rows = API(context).get("access-authorities")
    if json:
        print_json(rows)
        return
    print_table(
        [
            row
            | {
                "not_after": short_time(row["not_after"]),
                "trusted": "until " + short_time(row["trusted_until"])
                if row["trusted"] and row["trusted_until"]
                else row["trusted"],
            }
            for row in rows
        ],
        {
            "name": "NAME",
            "state": "STATE",
            "trusted": "TRUSTED (UTC)",
            "not_after": "ENDS (UTC)",
            "key_identifier": "KEY IDENTIFIER",
            "subject": "SUBJECT",
        },
        empty="No access authorities.",
    )


@app.command()
def create(
    context: typer.Context,
    *,
    lifetime_days: Annotated[int, typer.Option(min=1, max=3650, help="How long it lasts.")] = 1825,
    name: Annotated[str, typer.Option(help="Its common name; may be that of another one.")] = "",
    json: JSON = False,
) -> None:
    """Make another one: trusted and in new profiles from now on, it signs once it is activated. Needs the root's key.

    Example: evertunnel certificate access-authority create --lifetime-days 730
    """
    made = API(context).post("access-authorities", body={"lifetime_days": lifetime_days, "common_name": name})
    if json:
        print_json(made)
        return
    say(f"Staged {made['name']}, {made['subject']}, until {short_time(made['not_after'])} UTC.")
    say(f"  Key identifier {made['key_identifier']}, thumbprint {made['sha1']}")
    say("Bring it to whoever must know it (profiles, other servers), then let it sign:")
    say(f"  evertunnel certificate access-authority activate {made['name']}")


@app.command()
def activate(context: typer.Context, authority: Name) -> None:
    """Let a staged one sign from now on. The one before retires; what it signed stays good to its end.

    Example: evertunnel certificate access-authority activate access-2
    """
    done = API(context).post("access-authorities", authority, "activation")
    say(f"{done['name']} signs from now on. {done['before']} is retired, and trusted until")
    say(f"{short_time(done['before_trusted_until'])} UTC, when the last certificate it signed ends.")


@app.command()
def retire(
    context: typer.Context,
    authority: Name,
    *,
    distrust: Annotated[
        bool, typer.Option("--distrust", help="Refuse its certificates at once, and end their live tunnels.")
    ] = False,
) -> None:
    """Take one that does not sign out of use; with --distrust at once, when its key may be stolen.

    Example: evertunnel certificate access-authority retire access --distrust
    """
    done = API(context).post("access-authorities", authority, "retirement", body={"distrust": distrust})
    if distrust:
        say(f"{done['name']} is distrusted: {done['revoked']} certificates are revoked, and their tunnels end.")
        return
    say(f"{done['name']} is retired, and trusted until {short_time(done['trusted_until'])} UTC.")


@app.command()
def show(
    context: typer.Context,
    authority: Name,
    *,
    file_format: Annotated[
        Format | None, typer.Option("--format", help="Print the certificate only: pem, der, or pkcs7 (with the root).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write that to a file.")] = None,
    json: JSON = False,
) -> None:
    """Show one with its thumbprints, or download its certificate.

    Example: evertunnel certificate access-authority show access-2 --format der --out access-2.cer
    """
    found: dict[str, Any] = API(context).get("access-authorities", authority)
    if file_format is not None or out is not None:
        _write(found, file_format or Format.PEM, out)
        return
    if json:
        print_json(found)
        return
    say(f"{found['name']}, {found['subject']}: {found['state']}")
    say(f"  {'Valid (UTC):':17}{short_time(found['not_before'])} to {short_time(found['not_after'])}")
    say(f"  {'Made (UTC):':17}{short_time(found['created_at'])} by {found['created_by'] or 'init'}")
    for title, key in (
        ("Signs since:", "activated_at"),
        ("Retired:", "retired_at"),
        ("Trusted until:", "trusted_until"),
    ):
        if found[key]:
            say(f"  {title:17}{short_time(found[key])}")
    say(f"  {'Key:':17}{found['key']}")
    say(f"  {'Key identifier:':17}{found['key_identifier']}")
    say(f"  {'SHA-1:':17}{found['sha1']}")
    say(f"  {'  in EAP XML:':17}{format_hash(found['sha1'])}")
    say(f"  {'SHA-256:':17}{found['sha256']}")


def _write(found: dict[str, Any], file_format: Format, out: Path | None) -> None:
    data = found["pem"].encode() if file_format is Format.PEM else base64.b64decode(found[file_format.value])
    if out is None:
        if file_format is not Format.PEM and sys.stdout.isatty():
            fail(f"{file_format.value} is not for a terminal: give --out FILE", code=2)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        with out.open("xb") as file:
            file.write(data)
    except FileExistsError:
        fail(f"{out} is there already and is not overwritten")
    except OSError as error:
        fail(f"{out} cannot be written: {error.strerror}")
    say(f"Wrote {out}.")
