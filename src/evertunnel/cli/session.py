"""evertunnel session."""

from datetime import datetime
from typing import Annotated, Any

import typer

from evertunnel.cli import confirmations
from evertunnel.cli.client import API
from evertunnel.cli.output import fail, print_json, print_table, say, say_if_cut, short_time

app = typer.Typer(no_args_is_help=True, help="Sessions: tunnels that are up, or were.")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_BY = ("user", "device", "gateway", "day")
# As many as one look takes.
_LOOKED_AT_ONCE = 500
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@app.command("list")
def list_sessions(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Of this user.")] = None,
    device: Annotated[str | None, typer.Option(help="Of this device.")] = None,
    gateway: Annotated[str | None, typer.Option(help="On this gateway.")] = None,
    past: Annotated[bool, typer.Option("--past", help="Also those that ended.")] = False,
    unrecognised: Annotated[
        bool, typer.Option("--unrecognised", help="Those that gateways count and were never granted.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 1000,
    json: JSON = False,
) -> None:
    """List sessions.

    Example: evertunnel session list --past --user alice@corp.example
    """
    if unrecognised:
        if user or device or gateway:
            fail("--unrecognised lists what was granted to nobody: it takes no --user, --device or --gateway", code=2)
        _list_unrecognised(context, limit, json)
        return
    rows = API(context).get("sessions", live=not past, limit=limit, user=user, device=device, gateway=gateway)
    if json:
        print_json(rows)
        return
    print_table(
        [_describe(row) | {"since": short_time(row["up_at"] or row["created_at"])} for row in rows],
        {
            "id": "ID",
            "kind": "TUNNEL",
            "state": "STATE",
            "user": "USER",
            "device": "DEVICE",
            "gateway": "GATEWAY",
            "remote_address": "FROM",
            "virtual_addresses": "ADDRESS",
            "since": "SINCE (UTC)",
            "duration": "FOR",
            "bytes_in": "IN",
            "bytes_out": "OUT",
            "end": "END",
        },
        empty="No sessions.",
    )
    say_if_cut(rows, limit)


@app.command()
def end(
    context: typer.Context,
    session: Annotated[str | None, typer.Argument(help="Its id, as `session list` shows it.")] = None,
    user: Annotated[str | None, typer.Option(help="All live ones of this user.")] = None,
    device: Annotated[str | None, typer.Option(help="All live ones of this device, its users' tunnels too.")] = None,
    wait: confirmations.WAIT = 10.0,
    json: JSON = False,
) -> None:
    """End a live session now, or with --user or --device all of theirs, and see every gateway confirm it.

    Nobody is denied: a client may come back at once, and Always On does so by itself. `evertunnel deny` keeps it out.

    Exit 1: a gateway has not confirmed yet. It is tried until all have.

    Example: evertunnel session end 0123456789abcdef
    """
    named = {key: name for key, name in (("session", session), ("user", user), ("device", device)) if name is not None}
    if len(named) != 1:
        fail("name one session by its id, or give --user or --device", code=2)
    api = API(context)
    ended = api.post("sessions", "end", body=named)
    if not json:
        number, more = len(ended["sessions"]), ended["ending_already"]
        said = "1 session is ending" if number == 1 else f"{number} sessions are ending"
        say(f"{said}{f', besides {more} that did already' if more else ''}.")

    def look() -> confirmations.Rows:
        rows = ended["sessions"]
        waited_for = [row["effect"] for row in confirmations.list_unconfirmed(rows)][:_LOOKED_AT_ONCE]
        seen = {row["effect"]: row for row in api.get("sessions", "end", effect=waited_for)}
        ended["sessions"] = [seen.get(row["effect"], row) for row in rows]
        return list(ended["sessions"])

    rows = confirmations.watch(ended["sessions"], look, seconds=wait)
    unconfirmed = confirmations.list_unconfirmed(rows)
    if json:
        print_json(ended)
    else:
        for row in rows:
            owner = " on ".join(name for name in (row["user"], row["device"]) if name) or "somebody removed"
            gateway = row["gateway"] or "a gateway"
            say(f"  {gateway}: {row['kind']} tunnel of {owner}: {confirmations.describe(row)}")
        if unconfirmed:
            confirmations.say_that_it_goes_on()
        say("Nothing keeps a client from coming back at once, as Always On does; `evertunnel deny` keeps it out.")
    if unconfirmed:
        raise typer.Exit(1)


@app.command()
def statistics(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="From this day or moment (UTC), such as 2026-05-01; default 30 days ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Up to this day or moment (UTC); default now.")] = None,
    by: Annotated[str | None, typer.Option(help="A line for each user, device, gateway or day.")] = None,
    json: JSON = False,
) -> None:
    """Show how much the tunnels were used. With --by day, octets count on the day a tunnel came up.

    Example: evertunnel session statistics --since 2026-05-01 --by user
    """
    if by is not None and by not in _BY:
        fail(f"--by: {by!r} is not one of {', '.join(_BY)}", code=2)
    for option, text in (("--since", since), ("--until", until)):
        _verify_time(option, text)
    found = API(context).get("sessions", "statistics", since=since, until=until, by=by)
    if json:
        print_json(found)
        return
    say(f"From {short_time(found['since'])} to {short_time(found['until'])} UTC:")
    columns = {
        "sessions": "SESSIONS",
        "users": "USERS",
        "devices": "DEVICES",
        "at_once": "AT ONCE",
        "duration": "TIME",
        "bytes_in": "IN",
        "bytes_out": "OUT",
    }
    print_table(
        [_describe(row) for row in found["usage"]],
        ({"name": by.upper()} if by else {}) | columns,
        empty="No tunnel was up.",
    )


def _list_unrecognised(context: typer.Context, limit: int, json: bool) -> None:
    rows = API(context).get("sessions", "unrecognised", limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        [_describe(row) | {"since": short_time(row["began_at"]), "heard": short_time(row["heard_at"])} for row in rows],
        {
            "gateway": "GATEWAY",
            "acct_session_id": "ID",
            "claimed_identity": "CALLED ITSELF",
            "remote_address": "FROM",
            "virtual_addresses": "ADDRESS",
            "since": "SINCE (UTC)",
            "heard": "HEARD OF (UTC)",
            "bytes_in": "IN",
            "bytes_out": "OUT",
            "end": "END",
        },
        empty="Gateways count nothing that was not granted.",
    )


def _verify_time(option: str, text: str | None) -> None:
    try:
        if text is not None:
            datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option}: {text!r} is not a day such as 2026-05-01 or a moment such as 2026-05-01T08:00", code=2)


def _describe(row: dict[str, Any]) -> dict[str, Any]:
    """For people: sizes and times."""
    return row | {
        "bytes_in": format_octets(row["bytes_in"]),
        "bytes_out": format_octets(row["bytes_out"]),
        "duration": format_duration(row.get("seconds")),
    }


def format_octets(octets: int) -> str:
    """Exact below a thousand and something, else with one decimal."""
    value, unit = float(octets), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{octets} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def format_duration(seconds: int | None) -> str:
    """Hours, minutes and seconds; days when there are any."""
    if seconds is None:
        return ""
    days, rest = divmod(seconds, 24 * 3600)
    clock = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days} d {clock}" if days else clock
