"""evertunnel user."""

import sys
from typing import Annotated

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import fail, print_json, print_table, read_number, say

app = typer.Typer(no_args_is_help=True, help="Users: the people who connect.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PasswordOption = Annotated[
    bool,
    typer.Option("--password", help="Ask for a password, or read it from standard input; never from arguments."),
]


def read_password(*, confirm: bool = True, prompt: str = "Password", hide: bool = True) -> str:
    """From the terminal, or one line of standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=hide, confirmation_prompt=confirm))
    try:
        line = sys.stdin.readline().rstrip("\n")
    except UnicodeDecodeError:
        fail("what came on standard input is no text")
    if not line:
        fail(f"no {prompt.lower()} came on standard input")
    return line


@app.command("list")
def list_users(context: typer.Context, json: JSON = False) -> None:
    """List users.

    Example: evertunnel user list
    """
    users = API(context).get("users")
    if json:
        print_json(users)
        return
    print_table(
        users,
        {
            "name": "USER",
            "enabled": "ENABLED",
            "signs_in_here": "PASSWORD HERE",
            "totp": "TOTP",
            "denied": "DENIED",
        },
        empty="No users yet. Add one: evertunnel user add alice@corp.example --password",
    )


@app.command()
def add(
    context: typer.Context,
    name: str,
    display_name: Annotated[str, typer.Option(help="The person's name.")] = "",
    password: PasswordOption = False,
) -> None:
    """Add a user.

    Example: evertunnel user add alice@corp.example --password
    """
    body = {"name": name, "display_name": display_name, "password": read_password() if password else None}
    API(context).post("users", body=body)
    say(f"Added user {name}.")


@app.command()
def change(
    context: typer.Context,
    name: str,
    password: PasswordOption = False,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether the user may connect.")] = None,
    sid: Annotated[
        str | None,
        typer.Option(help="Security identifier in the Windows domain, for new certificates; '' takes it away."),
    ] = None,
    expire_password: Annotated[
        bool, typer.Option("--expire-password", help="Have the next login with MS-CHAPv2 choose a new password.")
    ] = False,
) -> None:
    """Change a user. A new password ends tunnels that came up by the old one.

    Example: evertunnel user change alice@corp.example --disable
    """
    given = {"enabled": enable, "sid": sid, "expire_password": expire_password}
    body = {"password": read_password() if password else None, **given}
    API(context).patch("users", name, body=body)
    say(f"Changed user {name}.")


@app.command()
def rename(context: typer.Context, old: str, new: str) -> None:
    """Rename a user; policies and denials follow. Clients that send the name in an older certificate need a new one.

    Example: evertunnel user rename alice@corp.example alice.smith@corp.example
    """
    API(context).post("users", old, "renames", body={"name": new})
    say(f"{old} is called {new}.")


@app.command()
def remove(context: typer.Context, name: str) -> None:
    """Remove a user and revoke its certificates; one with live sessions must be denied first.

    Example: evertunnel user remove alice@corp.example
    """
    API(context).delete("users", name)
    say(f"Removed user {name}.")


@app.command()
def report(
    context: typer.Context,
    name: str,
    sign_in_risk: Annotated[str | None, typer.Option(help="none, low, medium or high.")] = None,
    user_risk: Annotated[str | None, typer.Option(help="none, low, medium or high.")] = None,
    life_hours: Annotated[float | None, typer.Option(help="Unknown again after so many hours; default: never.")] = None,
) -> None:
    """Report the risk of a user or of his sign-ins, which conditional access policies may ask for.

    Example: evertunnel user report alice@corp.example --user-risk high --life-hours 24
    """
    if sign_in_risk is None and user_risk is None:
        fail("give --sign-in-risk or --user-risk", code=2)
    life = None if life_hours is None else read_number(life_hours, "--life-hours", times=3600)
    body = {"sign_in_risk": sign_in_risk, "user_risk": user_risk, "life_seconds": life}
    API(context).post("users", name, "reports", body=body)
    say(f"Reported the risk of {name}.")


@app.command()
def risk(context: typer.Context, name: str, json: JSON = False) -> None:
    """Show what each source says of a user's risks, and why: what was reported, and what we found in the attempts.

    Example: evertunnel user risk alice@corp.example
    """
    found = API(context).get("users", name, "facts")
    if json:
        print_json(found)
        return
    columns = {
        "fact": "FACT", "value": "VALUE", "source": "SOURCE", "observed_at": "SEEN", "expires_at": "UNTIL",
        "counts": "COUNTS", "detail": "DETAIL",
    }  # fmt: skip
    print_table(found, columns, empty=f"Nobody reported a risk of {name}, and nothing was found in the attempts.")


@app.command("dismiss-risk")
def dismiss_risk(
    context: typer.Context,
    name: str,
    reason: Annotated[str, typer.Option(help="Why there is none, for the audit.")] = "",
) -> None:
    """Say that what was found in the attempts (impossible travel, too many failures) is no risk.

    What happens from now on is found again. What others reported stays: report none in its place.

    Example: evertunnel user dismiss-risk alice@corp.example --reason "she asked from a hotel's VPN"
    """
    found = API(context).post("users", name, "risk-dismissals", body={"reason": reason})
    say(f"Dismissed for {name}: {', '.join(found['dismissed'])}.")
