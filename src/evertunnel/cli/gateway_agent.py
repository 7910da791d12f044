"""evertunnel gateway agent."""

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from evertunnel import clock
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError, InvalidInputError
from evertunnel.logs import set_up_logs
from evertunnel.notify import notify

app = typer.Typer(
    help="The agent of a gateway on another host: run there, it looks after strongSwan for the server.\n\n"
    "Example: evertunnel gateway agent"
)

_FOLDER = Path("/var/lib/evertunnel-agent")
Folder = Annotated[Path, typer.Option("--folder", envvar="EVERTUNNEL_AGENT", help="Where the agent keeps its keys.")]
Vici = Annotated[str, typer.Option(help="strongSwan's control socket.")]
GatePort = Annotated[int, typer.Option(help="Port on loopback where strongSwan asks about devices.")]


@app.callback(invoke_without_command=True)
def agent(
    context: typer.Context,
    folder: Folder = _FOLDER,
    vici_socket: Vici = "/run/charon.vici",
    gate_port: GatePort = 8119,
) -> None:
    """Look after strongSwan on this host, for the server, until stopped.

    Example: evertunnel gateway agent
    """
    if context.invoked_subcommand is not None:
        context.obj = folder
        return
    _run(folder, vici_socket, gate_port)


@app.command()
def enrol(folder: Folder = _FOLDER) -> None:
    """Enrol this host's agent with the code that `evertunnel gateway add` or `gateway code` printed on the server.

    The code is asked for, or read from standard input; it must not stand in a command. Run it as the user whom the
    agent runs as.

    Example: evertunnel gateway agent enrol
    """
    from evertunnel.gateways.agent.enrolling import enrol as run
    from evertunnel.gateways.agent.folder import AgentFolder

    try:
        agent_folder = AgentFolder(folder)
        gateway = run(agent_folder, _ask_code())
    except DomainError as error:
        fail(str(error))
    say(f"Enrolled as the agent of gateway {gateway}. Start it: evertunnel gateway agent")
    say(f"strongSwan's part of its configuration will be {agent_folder.fragment}:")
    typer.echo("include it from /etc/strongswan.conf and restart strongSwan once it is there.")


def _ask_code() -> str:
    if sys.stdin.isatty():
        return str(typer.prompt("Enrolment code", hide_input=True))
    code = sys.stdin.read(4096)
    if not code.strip():
        raise InvalidInputError("no enrolment code came on standard input")
    return code


def _run(folder: Path, vici_socket: str, gate_port: int) -> None:
    from evertunnel.gateways.agent.agent import Agent
    from evertunnel.gateways.agent.folder import AgentFolder

    set_up_logs(process="agent")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    try:
        agent = Agent(AgentFolder(folder), vici_socket=vici_socket, gate_port=gate_port, clock=clock.now)
        notify("READY=1")
        why = agent.run(stopped)
    except DomainError as error:
        fail(str(error))
    if why:
        say(f"The server dismissed this agent ({why}); every tunnel was ended. Enrol it anew to go on.")
