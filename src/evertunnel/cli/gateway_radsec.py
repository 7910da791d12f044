"""evertunnel gateway radsec."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from evertunnel.cli.client import API
from evertunnel.cli.output import fail, read_number, say
from evertunnel.cli.small_files import read_pem_file

app = typer.Typer(no_args_is_help=True, help="RADIUS over TLS: which certificate speaks for which gateway.")


@app.command()
def issue(
    context: typer.Context,
    name: str,
    *,
    csr: Annotated[
        Path | None,
        typer.Option(help="A request (PEM); only its public key is used. Without it a key is made."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for certificate.pem, chain.pem, root.pem and, if made here, key.pem.")
    ],
    lifetime_days: Annotated[float | None, typer.Option(help="Shorter than the 365 days it has otherwise.")] = None,
) -> None:
    """Issue a certificate with which a gateway, or the proxy before it, asks over TLS.

    Example: evertunnel gateway radsec issue proxy1 --out proxy1
    """
    from evertunnel.cli.certificate_files import FILES, make_request, write_files

    request_pem, key = (read_pem_file(csr), None) if csr else make_request()
    try:
        out.mkdir(parents=True, exist_ok=True)
        if existing := next((file for file in FILES if (out / file).exists()), None):
            fail(f"{out / existing} is there already and is not overwritten: choose another folder")
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}")
    body: dict[str, Any] = {
        "csr": request_pem,
        "lifetime_seconds": None
        if lifetime_days is None
        else read_number(lifetime_days, "--lifetime-days", times=86400),
    }
    api = API(context)
    issued = api.post("gateways", name, "radsec", body=body)
    authorities = {row["name"]: row["pem"] for row in api.get("authorities")}
    try:
        write_files(out, issued, authorities, key, pkcs12_password=None)
    except OSError as error:
        fail(f"cannot write {error.filename}: {error.strerror}")
    say(f"Wrote RadSec certificate {issued['id']} of {name} to {out}{os.sep}.")
    say(f"`evertunnel certificate revoke {issued['id']}` ends it and its connections.")


@app.command()
def trust(context: typer.Context, name: str, certificate: Path) -> None:
    """Let a gateway ask over TLS with a certificate (PEM) that somebody else signed: this one, not its authority.

    Example: evertunnel gateway radsec trust proxy1 proxy1.pem
    """
    pem = read_pem_file(certificate)
    API(context).post("gateways", name, "radsec", body={"certificate": pem})
    say(f"{name} may ask over TLS with this certificate.")


@app.command()
def end(context: typer.Context, name: str) -> None:
    """Take RadSec away from a gateway: its certificates are revoked and its connections end.

    Example: evertunnel gateway radsec end proxy1
    """
    API(context).delete("gateways", name, "radsec")
    say(f"{name} may ask over TLS no longer.")
