"""evertunnel attempt."""

import json as json_module
import sys
import time
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from evertunnel import clock
from evertunnel.cli.client import API, ServerAwayError
from evertunnel.cli.moments import read_moment
from evertunnel.cli.output import clean, fail, print_json, print_table, say, say_if_cut, short_time

app = typer.Typer(no_args_is_help=True, help="Attempts: every try to connect, with cause and fix.")

_PAGE = 1_000
_WAIT_SECONDS, _AWAY_SECONDS = 2.0, 1.0
_COLUMNS = {
    "id": "ID",
    "at": "AT (UTC)",
    "kind": "WHAT",
    "who": "WHO",
    "outcome": "OUTCOME",
    "reason": "REASON",
    "nps_reason_code": "NPS",
    "detail": "DETAIL",
}

User = Annotated[str | None, typer.Option(help="Of this user.")]
Device = Annotated[str | None, typer.Option(help="Of this device.")]
Gateway = Annotated[str | None, typer.Option(help="Through this gateway.")]
Outcome = Annotated[str | None, typer.Option(help="granted, refused or failed.")]
Reason = Annotated[str | None, typer.Option(help="For example device_not_compliant.")]
Kind = Annotated[str | None, typer.Option(help="user tunnel, device tunnel or certificate.")]
Method = Annotated[
    str | None, typer.Option(help="For example eap-tls, peap-eap-tls, password, totp, machine-certificate.")
]
Since = Annotated[str | None, typer.Option(help="From this time (UTC) on, such as 2026-05-01T08:00, or 2h for 2h ago.")]
Until = Annotated[str | None, typer.Option(help="Before this time (UTC), or so long ago.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_attempts(
    context: typer.Context,
    *,
    user: User = None,
    device: Device = None,
    gateway: Gateway = None,
    outcome: Outcome = None,
    reason: Reason = None,
    kind: Kind = None,
    method: Method = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    json: JSON = False,
) -> None:
    """List attempts, the newest first. NPS is the reason code that NPS logs for the same.

    Example: evertunnel attempt list --outcome refused --since 2h
    """
    wanted = _read_filters(user, device, gateway, outcome, reason, kind, method, since, until)
    api = API(context)
    rows: list[dict[str, Any]] = []
    while len(rows) < limit:
        size = min(_PAGE, limit - len(rows))
        page = api.get("attempts", **wanted, limit=size, after=rows[-1]["id"] if rows else None)
        rows += page
        if len(page) < size:
            break
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"at": short_time(row["at"]), "who": _name(row)} for row in rows], _COLUMNS, empty="No attempts."
    )
    say_if_cut(rows, limit)


@app.command()
def show(context: typer.Context, attempt: str, json: JSON = False) -> None:
    """Show one: its steps with their times, what each policy said and saw, cause and what to do.

    Example: evertunnel attempt show 0123456789abcdef
    """
    found: dict[str, Any] = API(context).get("attempts", attempt)
    if json:
        print_json(found)
        return
    say(f"{found['kind']}, {found['outcome']} at {short_time(found['at'])} UTC: {found['reason']}")
    for label, key in (
        ("User", "user"),
        ("Device", "device"),
        ("Gateway", "gateway"),
        ("Called itself", "claimed_identity"),
        ("From", "client_address"),
        ("Method", "login_method"),
        ("Certificate", "certificate_id"),
        ("Session", "session_id"),
    ):
        if found[key]:
            say(f"  {label + ':':15}{found[key]}")
    if found["authentication_methods"]:
        methods, moment = ", ".join(found["authentication_methods"]), short_time(found["signed_in_at"])
        say(f"  {'Signed in:':15}{methods} at {moment} UTC")
    say(f"  {'NPS reason:':15}{found['nps_reason_code']} ({found['nps_reason']})")
    typer.echo("Steps")
    for step in found["steps"]:
        say(f"  {step['at_ms']:9.1f} ms  {step['stage']:18}  {step['text']}")
    say(f"Cause: {found['cause']}")
    say(f"       {found['detail']}")
    say(f"What to do: {found['fix']}")


@app.command()
def watch(
    context: typer.Context,
    *,
    user: User = None,
    device: Device = None,
    gateway: Gateway = None,
    outcome: Outcome = None,
    reason: Reason = None,
    kind: Kind = None,
    method: Method = None,
    json: Annotated[bool, typer.Option("--json", help="Print each as a line of JSON.")] = False,
) -> None:
    """Show attempts as they are recorded, until ctrl-c. A server that restarts is waited for; nothing is missed.

    Example: evertunnel attempt watch --gateway gw1 --outcome refused
    """
    wanted = _read_filters(user, device, gateway, outcome, reason, kind, method, None, None)
    api = API(context, away_is_error=True)
    after: str | None = None
    away = False
    try:
        while True:
            try:
                page = api.get("attempts", "watch", **wanted, after=after, wait_seconds=_WAIT_SECONDS)
            except ServerAwayError as error:
                if after is None:
                    fail(f"the server cannot be reached ({error}): is `evertunnel serve` running?", code=3)
                if not away:
                    say("The server is away; waiting for it.", error=True)
                away = True
                time.sleep(_AWAY_SECONDS)
                continue
            if away:
                say("The server is back.", error=True)
            away, begins, after = False, after is None, page["after"]
            if begins:
                say("Watching; ctrl-c ends it.", error=True)
            for row in page["attempts"]:
                _print_line(row, json)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def export(
    context: typer.Context,
    *,
    user: User = None,
    device: Device = None,
    gateway: Gateway = None,
    outcome: Outcome = None,
    reason: Reason = None,
    kind: Kind = None,
    method: Method = None,
    since: Since = None,
    until: Until = None,
    format: Annotated[str, typer.Option(help="csv, safe to open in a spreadsheet, or jsonl.")] = "csv",  # noqa: A002
    out: Annotated[Path | None, typer.Option(help="The file to write; default: standard output.")] = None,
) -> None:
    """Export attempts, the oldest first, as CSV or a line of JSON each. Any number of them.

    Example: evertunnel attempt export --since 7d --outcome refused --out refused.csv
    """
    wanted = _read_filters(user, device, gateway, outcome, reason, kind, method, since, until)
    pieces = API(context).stream("attempts", "export", **wanted, format=format)
    first = next(pieces, b"")  # what is wrong with a filter is told before a file is made
    try:
        with out.open("xb") if out else nullcontext(sys.stdout.buffer) as stream:
            try:
                rest = b""
                for piece in chain((first,), pieces):
                    rest = _write_lines(stream, rest + piece, harmless=out is None or format == "csv")
            except BaseException:  # half an export looks like a whole one
                if out is not None:
                    out.unlink(missing_ok=True)
                raise
    except OSError as error:
        fail(f"{out or 'standard output'} cannot be written: {error.strerror}")


def _write_lines(stream: BinaryIO, data: bytes, *, harmless: bool) -> bytes:
    """Write the lines that are whole, `harmless` to a terminal or as they are; returns what is left."""
    whole, _, rest = data.rpartition(b"\n")
    if harmless:
        whole = b"\n".join(clean(line.decode("utf-8", "replace")).encode() for line in whole.split(b"\n"))
    if len(rest) < len(data):
        stream.write(whole + b"\n")
    return rest


def _read_filters(
    user: str | None,
    device: str | None,
    gateway: str | None,
    outcome: str | None,
    reason: str | None,
    kind: str | None,
    method: str | None,
    since: str | None,
    until: str | None,
) -> dict[str, str | None]:
    now = clock.now()
    return {
        "user": user,
        "device": device,
        "gateway": gateway,
        "outcome": outcome,
        "reason": reason,
        "kind": kind,
        "method": method,
        "since": read_moment(since, "--since", now=now),
        "until": read_moment(until, "--until", now=now),
    }


def _print_line(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json_module.dumps(row))
        return
    gateway = f" through {row['gateway']}" if row["gateway"] else ""
    words = f"{row['outcome']}" if row["outcome"] == "granted" else f"{row['outcome']}, {row['reason']}"
    say(f"{short_time(row['at'])}  {row['id']}  {row['kind']}  {_name(row)}{gateway}: {words}: {row['detail']}")


def _name(row: dict[str, Any]) -> str:
    return str(row["user"] or row["device"] or f"({row['claimed_identity']})")
