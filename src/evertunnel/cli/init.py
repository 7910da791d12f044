"""evertunnel init."""

from typing import Annotated

import typer

from evertunnel.cli.client import get_folder
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError


def init(
    context: typer.Context,
    *,
    organisation: Annotated[str, typer.Option(help="Name of the organisation, written into the authorities.")],
    public_name: Annotated[str, typer.Option(help="DNS name under which clients reach this server.")],
    public_url: Annotated[
        str, typer.Option(help="Where the world asks about revocation; default http://PUBLIC-NAME.")
    ] = "",
    key_type: Annotated[str, typer.Option(help="Keys of the authorities: p256, p384, rsa3072 or rsa4096.")] = "p256",
    listen_radius: Annotated[str, typer.Option(help="address:port for RADIUS.")] = "127.0.0.1:1812",
    listen_accounting: Annotated[
        str | None,
        typer.Option(help="address:port for RADIUS accounting; default: the port after that of --listen-radius."),
    ] = None,
    listen_http: Annotated[str, typer.Option(help="address:port for CRL and OCSP.")] = "0.0.0.0:80",
    listen_https: Annotated[str, typer.Option(help="address:port for enrolment.")] = "0.0.0.0:443",
    listen_gate: Annotated[str, typer.Option(help="address:port that gateways ask about devices.")] = "127.0.0.1:8118",
    listen_agents: Annotated[
        str | None,
        typer.Option(
            help="address:port for the agents of gateways on other hosts, such as 0.0.0.0:4433; default: none."
        ),
    ] = None,
    listen_radsec: Annotated[
        str | None,
        typer.Option(help="address:port for RADIUS over TLS (RadSec), such as 0.0.0.0:2083; default: none."),
    ] = None,
    database_url: Annotated[
        str, typer.Option(help="postgresql://... without a password; default a file of SQLite in the state folder.")
    ] = "",
    user_base: Annotated[
        int | None, typer.Option(hidden=True, help="Number the users of the processes from here.")
    ] = None,
) -> None:
    """Make an installation: authorities, keys, database.

    PostgreSQL: the database must exist and be empty, and take our processes' users over its Unix socket (peer). A
    password is read from PGPASSFILE, PGPASSWORD or a service file, as psql does; `serve` needs the same environment.

    Example: evertunnel init --organisation "Example Corp" --public-name vpn.example.com
    """
    from evertunnel.initialise import InitOptions, initialise

    folder = get_folder(context)
    options = InitOptions(
        organisation=organisation,
        public_name=public_name,
        public_url=public_url or f"http://{public_name}",
        key_type=key_type,
        listen={
            "radius": listen_radius,
            "public_http": listen_http,
            "public_https": listen_https,
            "gate": listen_gate,
        }
        | ({"accounting": listen_accounting} if listen_accounting is not None else {})
        | ({"agents": listen_agents} if listen_agents is not None else {})
        | ({"radsec": listen_radsec} if listen_radsec is not None else {}),
        user_base=user_base,
        database_url=database_url,
    )
    try:
        initialise(folder, options)
    except DomainError as error:
        fail(str(error))
    say(f"Made an installation in {folder.path}.")
    say(f"The authorities' keys are in {folder.path}/keys/signer and the key that seals secrets is")
    say(f"{folder.path}/keys/secrets.key: keep copies of both apart from backups of the database.")
    say("`evertunnel certificate authority offline` takes the root's key away from here, `evertunnel keys seal-with`")
    say("puts the sealing key under a passphrase or into a credential of systemd.")
    typer.echo("Next: evertunnel serve, then evertunnel policy set-up and evertunnel gateway add.")
