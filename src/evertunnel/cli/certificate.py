"""evertunnel certificate."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli import access_authority, authority
from evertunnel.cli.authority import print_authorities
from evertunnel.cli.client import API, get_folder
from evertunnel.cli.output import fail, print_json, print_table, read_number, say, say_if_cut, short_time
from evertunnel.cli.small_files import read_pem_file
from evertunnel.errors import DomainError
from evertunnel.model import CertificateKind

app = typer.Typer(no_args_is_help=True, help="Certificates and the authorities that sign them.")
app.add_typer(authority.app, name="authority")
app.add_typer(access_authority.app, name="access-authority")

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_certificates(
    context: typer.Context,
    *,
    user: Annotated[str | None, typer.Option(help="Of this user.")] = None,
    device: Annotated[str | None, typer.Option(help="Of this device.")] = None,
    kind: Annotated[CertificateKind | None, typer.Option(help="Of this kind.")] = None,
    valid: Annotated[bool, typer.Option("--valid", help="Neither over nor revoked.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 1000,
    json: JSON = False,
) -> None:
    """List certificates, the newest first.

    Example: evertunnel certificate list --device laptop1.corp.example --kind device --valid
    """
    rows = API(context).get("certificates", user=user, device=device, kind=kind, valid=valid, limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        [row | {"not_after": short_time(row["not_after"])} for row in rows],
        {
            "id": "ID",
            "kind": "KIND",
            "name": "NAME",
            "status": "STATUS",
            "not_after": "ENDS (UTC)",
            "serial": "SERIAL",
        },
        empty="No such certificates." if user or device or kind or valid else "No certificates yet.",
    )
    say_if_cut(rows, limit)


@app.command()
def show(context: typer.Context, certificate: str, json: JSON = False) -> None:
    """Show one, with its PEM.

    Example: evertunnel certificate show 0123456789abcdef
    """
    found: dict[str, Any] = API(context).get("certificates", certificate)
    if json:
        print_json(found)
        return
    say(f"{found['kind']} certificate {found['id']} of {found['name']}, {found['status']}")
    say(f"  {'Serial:':13}{found['serial']}, by the {found['authority']} authority")
    say(f"  {'Valid (UTC):':13}{short_time(found['not_before'])} to {short_time(found['not_after'])}")
    say(f"  {'Granted by:':13}{found['granted_by']}")
    if found["revoked_at"]:
        say(f"  {'Since:':13}{short_time(found['revoked_at'])}, {found['revocation_reason']}")
    for line in (found["pem"] or "").splitlines():
        say(line)


@app.command()
def issue(
    context: typer.Context,
    *,
    user: Annotated[str | None, typer.Option(help="Issue to this user.")] = None,
    device: Annotated[str | None, typer.Option(help="Issue to this device.")] = None,
    csr: Annotated[
        Path | None,
        typer.Option(help="A request (PEM); only its public key is used. Without it a key is made."),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for certificate.pem, chain.pem, root.pem, for a device device-authority.pem, "
            "and, if made here, key.pem."
        ),
    ],
    pkcs12: Annotated[bool, typer.Option(help="Also write certificate.p12; asks for its password.")] = False,
    lifetime_days: Annotated[float | None, typer.Option(help="Shorter than the kind's own lifetime.")] = None,
) -> None:
    """Issue a user or device certificate.

    Example: evertunnel certificate issue --device laptop1.corp.example --out laptop1
    """
    if (user is None) == (device is None):
        fail("give exactly one of --user and --device", code=2)
    from evertunnel.cli.certificate_files import FILES, make_request, write_files

    request_pem, key = (read_pem_file(csr), None) if csr else make_request()
    body: dict[str, Any] = {
        "kind": "device" if user is None else "user",
        "owner": device if user is None else user,
        "csr": request_pem,
        "lifetime_seconds": None
        if lifetime_days is None
        else read_number(lifetime_days, "--lifetime-days", times=86400),
    }
    if pkcs12 and key is None:
        fail("--pkcs12 needs the private key, which stays with whoever made the request", code=2)
    # Everything that can fail here fails before a certificate is issued that nobody then has.
    password = _read_password() if pkcs12 else None
    try:
        out.mkdir(parents=True, exist_ok=True)
        if existing := next((name for name in FILES if (out / name).exists()), None):
            fail(f"{out / existing} is there already and is not overwritten: choose another folder")
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}")
    api = API(context)
    issued = api.post("certificates", body=body)
    authorities = {row["name"]: row["pem"] for row in api.get("authorities")}
    try:
        write_files(out, issued, authorities, key, for_device=user is None, pkcs12_password=password)
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}")
    say(f"Wrote {body['kind']} certificate {issued['id']} to {out}{os.sep}.")


@app.command()
def revoke(
    context: typer.Context,
    certificate: str,
    reason: Annotated[
        str, typer.Option(help="For example: key compromise, superseded, privilege withdrawn.")
    ] = "unspecified",
) -> None:
    """Revoke a certificate for good; its live tunnels end.

    Example: evertunnel certificate revoke 0123456789abcdef --reason "key compromise"
    """
    API(context).post("certificates", certificate, "revocation", body={"reason": reason})
    say(f"Revoked {certificate}.")


class TLSServer(StrEnum):
    """Our own TLS servers."""

    POLICY_SERVER = "policy-server"
    HTTPS = "https"


@app.command()
def renew(
    context: typer.Context,
    server: Annotated[TLSServer, typer.Argument(help="policy-server or https.")],
    *,
    new_key: Annotated[bool, typer.Option("--new-key", help="With a new key; the old certificate is revoked.")] = False,
) -> None:
    """Replace key and certificate of one of our servers after a theft; stop `evertunnel serve` first.

    Without a theft they renew themselves.

    Example: evertunnel certificate renew policy-server --new-key
    """
    if not new_key:
        fail("certificates of servers renew themselves with the key they have: give --new-key for another", code=2)
    from evertunnel.installation import Installation
    from evertunnel.new_server_key import renew_with_new_key
    from evertunnel.privileges import find_user_name

    folder = get_folder(context)
    try:
        installation = Installation(folder)
        lock = folder.lock()
        try:
            made = renew_with_new_key(installation, server.value, actor=find_user_name(os.getuid()))
        finally:
            os.close(lock)
    except DomainError as error:
        fail(str(error))
    say(f"The {server.value} key is new, with certificate {made}; those of the old key are revoked.")


@app.command()
def authorities(context: typer.Context, json: JSON = False) -> None:
    """List the authorities.

    Example: evertunnel certificate authorities --json
    """
    print_authorities(API(context).get("authorities"), json=json)


def _read_password() -> str:
    from evertunnel.cli.user import read_password

    return read_password()
