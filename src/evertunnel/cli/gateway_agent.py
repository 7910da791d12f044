"""evertunnel gateway agent."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evertunnel import clock
from evertunnel.cli.output import fail, say
from evertunnel.errors import DomainError, InvalidInputError
from evertunnel.notify import notify
from evertunnel.privileges import become, find_group_id, find_user_id, give

if TYPE_CHECKING:
    from evertunnel.gateways.agent.folder import AgentFolder

app = typer.Typer(
    help="The agent of a gateway on another host: run there, it looks after strongSwan for the server.\n\n"
    "Example: evertunnel gateway agent"
)

_FOLDER = Path("/var/lib/evertunnel-agent")
Folder = Annotated[Path, typer.Option("--folder", envvar="EVERTUNNEL_AGENT", help="Where the agent keeps its keys.")]
Vici = Annotated[str, typer.Option(help="strongSwan's control socket.")]
User = Annotated[str, typer.Option(help="The system user it runs as when started as root; made if it is missing.")]
GatePort = Annotated[int, typer.Option(help="Port on loopback where strongSwan asks about devices.")]


@app.callback(invoke_without_command=True)
def agent(
    context: typer.Context,
    folder: Folder = _FOLDER,
    vici_socket: Vici = "/run/charon.vici",
    gate_port: GatePort = 8119,
    user: User = "evertunnel-agent",
) -> None:
    """Look after strongSwan on this host, for the server, until stopped.

    Example: evertunnel gateway agent
    """
    if context.invoked_subcommand is None:
        _run(folder, vici_socket, gate_port, user)


@app.command()
def enrol(folder: Folder = _FOLDER, user: User = "evertunnel-agent") -> None:
    """Enrol this host's agent with the code that `evertunnel gateway add` or `gateway code` printed on the server.

    The code is asked for, or read from standard input; it must not stand in a command. Run it as root: it makes the
    agent's user and folder, and then goes on as that user.

    Example: evertunnel gateway agent enrol
    """
    from evertunnel.gateways.agent.enrolling import enrol as run
    from evertunnel.gateways.agent.enrolling import read_code
    from evertunnel.gateways.agent.folder import AgentFolder

    try:
        agent_folder = AgentFolder(folder)
        code = read_code(_ask_code())  # before anything is made: one mistyped leaves nothing behind
        _become(agent_folder, user)
        with agent_folder.hold():
            gateway = run(agent_folder, code)
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


def _become(folder: "AgentFolder", user: str) -> None:
    """Make the folder; as root for a user, who is made too, and then give up root for that user.

    strongSwan gives up root's right to read anything and keeps group 0, so that is the group of what it reads.
    """
    folder.create()
    if os.geteuid() != 0:
        return
    from evertunnel.accounts import ensure_account

    ensure_account(user, user)
    user_id = find_user_id(user)
    if user_id == 0:  # nothing to give up, or to give
        return
    try:
        give(folder.path, user_id=user_id, group_id=-1, mode=0o711)
        give(folder.fragment.parent, user_id=user_id, group_id=0, mode=0o2750)
    except OSError as error:
        raise InvalidInputError(f"{folder.path} cannot be given to {user}: {error.strerror}") from error
    become(user_id, find_group_id(user))


def _run(folder: Path, vici_socket: str, gate_port: int, user: str) -> None:
    from evertunnel.gateways.agent.agent import Agent
    from evertunnel.gateways.agent.folder import AgentFolder
    from evertunnel.logs import set_up_logs  # each command would wait for what this loads

    set_up_logs(process="agent")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopped.set())
    try:
        agent_folder = AgentFolder(folder)
        agent_folder.verify_enrolled()
        _become(agent_folder, user)
        with agent_folder.hold():
            agent = Agent(agent_folder, vici_socket=vici_socket, gate_port=gate_port, clock=clock.now)
            notify("READY=1")
            why = agent.run(stopped)
    except DomainError as error:
        fail(str(error))
    if why:
        say(f"The server dismissed this agent ({why}); every tunnel was ended. Enrol it anew to go on.")
