"""evertunnel user totp."""

import io
import sys
from typing import Annotated

import typer

from evertunnel.cli import user
from evertunnel.cli.client import API
from evertunnel.cli.output import print_json, say

app = typer.Typer(no_args_is_help=True, help="Authenticator apps: a code besides the password (RFC 6238).")
user.app.add_typer(app, name="totp")


@app.command()
def add(
    context: typer.Context, name: str, json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Give a user an authenticator app: a QR code, shown this once. It counts once `confirm` got its first code.

    Example: evertunnel user totp add alice@corp.example
    """
    given = API(context).post("users", name, "totp")
    if json:
        print_json(given)
        return
    if sys.stdout.isatty() and (drawn := _draw(given["uri"])):
        typer.echo(drawn)
    secret = given["secret"]
    say(given["uri"])
    say(f"To type: {' '.join(secret[at : at + 4] for at in range(0, len(secret), 4))}")
    say(f"It is not shown again. Then: evertunnel user totp confirm {given['name']}")


@app.command()
def confirm(context: typer.Context, name: str) -> None:
    """Read the code the app shows; from then on the user is asked for one at each sign-in.

    Example: evertunnel user totp confirm alice@corp.example
    """
    code = user.read_password(confirm=False, prompt="Code of the authenticator app", hide=False)
    API(context).post("users", name, "totp", "confirmations", body={"code": code})
    say(f"{name} signs in with a password and a code.")


@app.command()
def remove(context: typer.Context, name: str) -> None:
    """Take a user's authenticator app away: the password alone is asked for.

    Example: evertunnel user totp remove alice@corp.example
    """
    API(context).delete("users", name, "totp")
    say(f"{name} has no authenticator app.")


def _draw(uri: str) -> str:
    """A QR code of half blocks, light on dark; nothing where the terminal cannot show them."""
    import segno

    drawn = io.StringIO()
    segno.make(uri, micro=False).terminal(drawn, compact=True)
    try:
        drawn.getvalue().encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return ""
    return drawn.getvalue()
