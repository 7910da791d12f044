"""evertunnel connect."""

import contextlib
import signal
import threading
import time
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from evertunnel.cli.output import clean, fail
from evertunnel.errors import AccessDeniedError, DomainError

if TYPE_CHECKING:
    from evertunnel.connector.enrolment import DeviceIdentity

_NAME = "evertunnel-connect"
_LOOK_EVERY_SECONDS = 0.2
# What a report says counts for a day; what changes meanwhile is known this soon.
_REPORT_EVERY_SECONDS = 600.0


def connect(
    *,
    server: Annotated[str, typer.Option(help="Enrolment server, for example https://vpn.example.com.")],
    gateway: Annotated[str, typer.Option(help="DNS name of the gateway, as in its certificate.")],
    device: Annotated[Path, typer.Option(help="Folder with the device's certificate.pem, key.pem and root.pem.")],
    user: Annotated[str, typer.Option(help="Who signs in.")],
    network: Annotated[list[str], typer.Option(help="What is reached through the tunnel; repeat for more.")],
    server_address: Annotated[str, typer.Option(help="Address of the enrolment server; default: its name.")] = "",
    gateway_address: Annotated[str, typer.Option(help="Address of the gateway; default: its name.")] = "",
    vici_socket: Annotated[str, typer.Option(help="The local strongSwan's control socket.")] = "/run/charon.vici",
    encap: Annotated[bool, typer.Option(help="UDP encapsulation always; kernels without ESP need it.")] = False,
    report: Annotated[
        bool, typer.Option(help="Report this machine's posture before, and while the tunnel is up.")
    ] = True,
) -> None:
    """Prove the device, sign in, get a one-hour certificate, and hold the user tunnel until Ctrl-C.

    The password comes from the terminal or standard input, and the code of an authenticator app after it when it is
    asked for. Exit 1: refused; 3: cannot be reached; 4: the tunnel ended.

    \b
    Example: evertunnel connect --server https://vpn.example.com --gateway vpn.example.com \\
      --device laptop1 --user alice@corp.example --network 10.20.0.0/16
    """
    from evertunnel.cli.user import read_password
    from evertunnel.connector.enrolment import load_device_identity, request_certificate
    from evertunnel.connector.tunnel import TunnelPlan, bring_up, find_tunnels, take_down
    from evertunnel.vici_connection import ViciConnection

    if not server.lower().startswith("https://"):
        fail(f"--server: {server} does not begin with https://, and a password goes to nothing else", code=2)
    for text in network:
        _verify_network(text)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopped.set())
    vici = ViciConnection(vici_socket)
    began = time.monotonic()
    key_id: str | None = None
    reported = threading.Event()
    try:
        identity = load_device_identity(device)
        if report:
            threading.Thread(
                target=_keep_reporting, args=(server, identity, server_address, reported, stopped), daemon=True
            ).start()
            reported.wait()
        issued = request_certificate(
            server,
            identity,
            user,
            read_password(confirm=False),
            address=server_address,
            ask_code=lambda: read_password(confirm=False, prompt="Code of your authenticator app", hide=False),
        )
        typer.echo(f"Short-lived certificate after {(time.monotonic() - began) * 1000:.0f} ms.")
        began = time.monotonic()
        plan = TunnelPlan(
            name=_NAME,
            gateway_address=gateway_address or gateway,
            gateway_name=gateway,
            networks=network,
            certificate_pem=issued.certificate_pem,
            chain_pem=issued.chain_pem,
            key_pem=issued.key_pem,
            root_pem=identity.root_file.read_text(encoding="ascii"),
            user_name=user,
            policy_server_name=urlsplit(server).hostname,  # both are the installation's public name
            encap=encap,
        )
        key_id = bring_up(vici, plan)
        addresses = " ".join(vip for tunnel in find_tunnels(vici, _NAME) for vip in tunnel.get("local-vips", []))
        typer.echo(f"User tunnel up after {(time.monotonic() - began) * 1000:.0f} ms, address {addresses}.")
        while not stopped.wait(_LOOK_EVERY_SECONDS):
            if not find_tunnels(vici, _NAME):
                fail("the tunnel ended: the gateway closed it", code=4)
        typer.echo("User tunnel down.")
    except AccessDeniedError as error:
        fail(str(error))
    except DomainError as error:
        fail(str(error), code=3)
    finally:
        with contextlib.suppress(DomainError):
            take_down(vici, _NAME, key_id=key_id)


def _keep_reporting(
    server: str, identity: "DeviceIdentity", address: str, reported: threading.Event, stopped: threading.Event
) -> None:
    """Report at once and then again and again. A report that fails is no reason not to connect: the server decides."""
    from evertunnel.connector.enrolment import send_posture
    from evertunnel.connector.posture import collect_posture

    said = ""
    while True:
        try:
            send_posture(server, identity, collect_posture(), address=address)
            said = ""
        except DomainError as error:
            if str(error) != said:
                said = str(error)
                typer.echo(f"evertunnel: posture was not reported: {clean(said)}", err=True)
        finally:
            reported.set()
        if stopped.wait(_REPORT_EVERY_SECONDS):
            return


def _verify_network(text: str) -> None:
    try:
        ip_network(text)
    except ValueError as error:
        fail(f"--network: {text} is not a network such as 10.20.0.0/16: {error}", code=2)
