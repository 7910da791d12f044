"""Builds every process and runs it. The only file that sees all parts."""

import asyncio
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.types import ASGIApp

from evertunnel import clock, preload
from evertunnel.accounts import find_owners
from evertunnel.actions.run_policy_tests import run_policy_tests
from evertunnel.authority_keys import AuthorityKeys
from evertunnel.authority_maker import AuthorityMaker
from evertunnel.config import split_endpoint, store_database_url
from evertunnel.deadlines import keep_deadlines
from evertunnel.errors import DomainError, InvalidInputError, UnavailableError
from evertunnel.gateways.agent_directory import AgentDirectory
from evertunnel.gateways.agents_process import AgentsProcess
from evertunnel.gateways.gateway_process import GatewayProcess
from evertunnel.installation import AGENTS, RADSEC, Installation
from evertunnel.keystore import Keystore
from evertunnel.logs import set_up_logs
from evertunnel.model import RADIUS_WORKERS_AT_MOST, Authority, Gateway
from evertunnel.notify import notify
from evertunnel.pki.keys import PrivateKey, encode_private_key
from evertunnel.privileges import become
from evertunnel.radius_worker import Shared, run_radius
from evertunnel.radsec import run_radsec
from evertunnel.risks import keep_risks
from evertunnel.sealing_key import open_sealing_key
from evertunnel.server_certificate import Chain, ServerCertificate
from evertunnel.servers.crew import Crew
from evertunnel.servers.radsec_link import RadSecLink
from evertunnel.servers.sockets import bind_tcp, bind_udp, bind_unix
from evertunnel.servers.ticket_keys import TicketKeys
from evertunnel.servers.workers import Place
from evertunnel.signer import LocalSigner, publish_until_stopped
from evertunnel.signer_socket import SignerClient, SignerServer
from evertunnel.state_folder import StateFolder
from evertunnel.storage.databases import is_postgresql, verify_url
from evertunnel.storage.gateways import gate_path_context
from evertunnel.storage.store import Store
from evertunnel.supervisor import Child, supervise
from evertunnel.web.api.app import build_app as build_api
from evertunnel.web.api.context import APIContext
from evertunnel.web.api.peers import AdministratorsOnly, PeerProtocol
from evertunnel.web.asgi_server import ASGIServer
from evertunnel.web.bounded_listener import BoundedListener
from evertunnel.web.bounded_protocol import BoundedProtocol, build_protocol
from evertunnel.web.gate import Gate
from evertunnel.web.ocsp_signer import OCSPSigner
from evertunnel.web.public.enrolment import build_app as build_enrolment
from evertunnel.web.public.revocation import RevocationPages

log = structlog.get_logger()

assert preload.PRELOADED

# Of what fails, a line of the log names so many.
_NAMED_AT_MOST = 10
_CONNECTIONS_AT_MOST = 350
_BACKLOG = 100
# Where a gateway on this machine asks a server that listens everywhere.
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def serve(folder: StateFolder, *, on_ready: Callable[[], None], ask_passphrase: Callable[[], str]) -> None:
    """Run all processes until SIGTERM or SIGINT. Raises InvalidInputError before anything was started."""
    installation = Installation(folder)
    if os.geteuid() == 0:
        folder.verify_reachable()
        try:
            folder.open_to_strongswan(gateway_owner=installation.find_users()["gateway"])
        except OSError as error:
            raise InvalidInputError(f"{error.filename} cannot be given to the gateway: {error.strerror}") from error
    lock = folder.lock()
    with ExitStack() as stack:
        stack.callback(os.close, lock)
        installation.find_administrators()
        installation.verify_database()
        installation.keystore.ensure_folders(owners=installation.find_users())
        if installation.config.keys.sealing == "file":
            installation.keystore.hand_out(owners=installation.find_users())
        else:
            opened = open_sealing_key(installation, ask_passphrase)
            stack.callback(os.close, opened.sealing)
            stack.callback(os.close, opened.sign_in)
            installation.keystore = Keystore(folder.path, descriptors=opened)
        children = _build_children(installation, stack)

        def ready() -> None:
            on_ready()
            notify("READY=1")

        supervise(children, on_ready=ready, on_stopping=lambda: notify("STOPPING=1"))


def upgrade(folder: StateFolder) -> None:
    """Bring the database to this version's schema while nothing serves. Raises DomainError."""
    from evertunnel.storage.schema import upgrade_schema  # Alembic takes long to load and nothing else needs it

    installation = Installation(folder)
    # A version, or a change of the configuration, may bring a process with a user of its own.
    find_owners(installation.config.processes, optional=installation.config.listen.optional_processes)
    lock = folder.lock()
    store = installation.open_store()
    try:
        upgrade_schema(store)
    finally:
        store.close()
        os.close(lock)


def copy_storage(folder: StateFolder, url: str, *, on_progress: Callable[[str, int, int], None]) -> int:
    """Move the state into another database while nothing serves, and name it in the configuration. Raises DomainError.

    Returns the number of rows.
    """
    from evertunnel.storage.copy import copy_storage as copy

    installation = Installation(folder)
    verify_url(url)
    if url == installation.database_url:
        raise InvalidInputError("--to: this is the database that is used already")
    _verify_place(folder, url)
    lock = folder.lock()
    previous_mask = os.umask(0o007)  # a file that is filled for minutes, or left by a copy that was killed
    source, target = installation.open_store(), Store(url)
    try:
        copied = copy(source, target, on_progress=on_progress)
        target.close()
        if not target.is_shared:
            path = Path(target.engine.url.database or "")
            os.chown(path, -1, installation.find_group())
            path.chmod(0o660)
        store_database_url(folder.path, url)
    except OSError as error:
        raise UnavailableError(f"{error.filename}: {error.strerror}") from error
    finally:
        source.close()
        target.close()
        os.umask(previous_mask)
        os.close(lock)
    return copied


def _verify_place(folder: StateFolder, url: str) -> None:
    """Only where the first file of SQLite was made may every process make files. Raises InvalidInputError."""
    data = folder.path / "data"
    if not is_postgresql(url) and Path(os.path.normpath(url.removeprefix("sqlite:///"))).parent != data:
        raise InvalidInputError(
            f"--to: a file of SQLite lies where all processes can write: sqlite:///{data}/another.db, say"
        )


def _build_children(installation: Installation, stack: ExitStack) -> list[Child]:
    listen = installation.config.listen
    users, group = installation.find_users(), installation.find_group()
    folder = installation.folder
    count = installation.config.radius_workers or min(len(os.sched_getaffinity(0)), RADIUS_WORKERS_AT_MOST)
    radius = bind_udp(listen.radius, count, "listen.radius")
    accounting = bind_udp(listen.accounting_endpoint, count, "listen.accounting")
    crew = Crew(count, all_awake=installation.config.radius_workers_awake == "all")
    tickets = TicketKeys() if installation.config.radius_resumption else None
    workers = {"radius" if count == 1 else f"radius-{number + 1}": Place(number, count) for number in range(count)}
    sockets: dict[str, list[socket.socket]] = {
        "signer": [bind_unix(folder.signer_socket, owner=users["signer"], group=group)],
        "web-public": [
            bind_tcp(listen.public_http, "listen.public_http"),
            bind_tcp(listen.public_https, "listen.public_https"),
        ],
        "web-admin": [bind_unix(folder.admin_socket, owner=users["web-admin"], group=-1)],
        "gateway": [],
        "gate": [bind_tcp(listen.gate, "listen.gate")],
        **{name: radius.list_sockets(place) + accounting.list_sockets(place) for name, place in workers.items()},
    }
    if listen.agents is not None:
        sockets[AGENTS] = [bind_tcp(listen.agents, "listen.agents")]
    link = None
    if listen.radsec is not None:
        link = RadSecLink(crew)
        sockets[RADSEC] = [bind_tcp(listen.radsec, "listen.radsec"), *link.sockets]
        for name, place in workers.items():
            sockets[name] += link.list_worker_sockets(place.number)
    shared = Shared(radius, accounting, link, crew, tickets)
    for owned in sockets.values():
        for each in owned:
            stack.enter_context(each)
    runs: dict[str, Callable[[], None]] = {
        "signer": lambda: _run_signer(installation, sockets["signer"][0], users),
        "web-public": lambda: _run_web_public(installation, *sockets["web-public"]),
        "web-admin": lambda: _run_web_admin(installation, sockets["web-admin"][0]),
        "gateway": lambda: _run_gateway(installation),
        "gate": lambda: _run_gate(installation, sockets["gate"][0]),
        AGENTS: lambda: _run_agents(installation, sockets[AGENTS][0]),
        RADSEC: lambda: run_radsec(installation, sockets[RADSEC][0], link, _stop_event()),
        **{name: partial(run_radius, installation, shared, place) for name, place in workers.items()},
    }

    def run(name: str) -> None:
        kind = "radius" if name in workers else name
        # A process that is taken over must not speak with another one's sockets.
        for each in set().union(*sockets.values()).difference(sockets[name]):
            each.close()
        installation.keystore.keep_keys_of(kind)
        if tickets is not None and kind != "radius":
            tickets.forget()
        become(users[kind], group)
        set_up_logs(process=name)
        try:
            runs[name]()
        except DomainError as error:
            log.error("cannot run", error=str(error))
            raise SystemExit(1) from error

    names = [name for kind in installation.processes for name in (workers if kind == "radius" else [kind])]
    return [Child(name, partial(run, name)) for name in names]


def _run_signer(installation: Installation, listener: socket.socket, users: dict[str, int]) -> None:
    store = installation.open_store()
    keys = AuthorityKeys(installation.keystore)
    signer = LocalSigner(store, keys, installation.addresses, clock.now)
    stopped = _stop_event()
    _start(publish_until_stopped, signer, store, stopped)
    # Without root all processes share one user, and the kernel cannot tell them apart.
    names = {user: name for name, user in users.items()}
    if len(names) < len(users):
        names = dict.fromkeys(names, "everything")
    names[0] = "everything"
    maker = AuthorityMaker(store, keys, installation.addresses, clock.now)
    server = SignerServer(listener, signer, names, maker.make_authority)
    _start(server.serve_forever)
    stopped.wait()


def _run_web_public(installation: Installation, http: socket.socket, https: socket.socket) -> None:
    store = installation.open_store()
    signer = SignerClient(installation.folder.signer_socket)
    ocsp = OCSPSigner(store, signer, Authority.ISSUING, "Evertunnel OCSP", clock.now)
    pages = RevocationPages(store, ocsp, clock.now).build_app()
    sign_in = installation.keystore.for_process("web-public").for_sign_in()
    enrolment = build_enrolment(
        store,
        signer,
        lambda sealed, context: sign_in.unseal(sealed, context=context),
        clock.now,
        **installation.find_geography(),
    )
    key = installation.keystore.load_key("web-public", "https")
    certificate = _find_server_certificate(installation, store, key, "web-public")
    context = build_https_context()
    load_https_certificate(context, certificate.load(), key)
    _run_asgi(
        _asgi_server(pages, http),
        _asgi_server(enrolment, https, context),
        beside=lambda loop: _start(
            certificate.keep,
            # In the loop's own thread, between two connections: OpenSSL must not begin one while its certificate goes.
            lambda chain: loop.call_soon_threadsafe(load_https_certificate, context, chain, key),
            threading.Event(),
        ),
    )


def _run_web_admin(installation: Installation, listener: socket.socket) -> None:
    keystore = installation.keystore.for_process("web-admin")
    sign_in = keystore.for_sign_in()
    signer = SignerClient(installation.folder.signer_socket)
    context = APIContext(
        store=installation.open_store(),
        signer=signer,
        maker=signer,
        list_keys=signer.list_keys,
        seal=lambda secret, context: keystore.seal(secret, context=context),
        seal_sign_in=lambda secret, context: sign_in.seal(secret, context=context),
        unseal_sign_in=lambda sealed, context: sign_in.unseal(sealed, context=context),
        organisation=installation.config.installation.organisation,
        clock=clock.now,
        agents_port=_find_agents_port(installation),
        **installation.find_geography(),
        cut_at_most_percent=installation.config.cut_at_most_percent,
    )
    _start(keep_deadlines, context.store, clock.now, threading.Event())
    _start(_tell_failing_tests, context.store)
    _start(keep_risks, context.store, context.find_place, clock.now, threading.Event())
    app = AdministratorsOnly(build_api(context), installation.find_administrators())
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        log_level="error",
        lifespan="off",
        access_log=False,
        limit_concurrency=_CONNECTIONS_AT_MOST,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=5,
    )
    _run_asgi((ASGIServer(config), listener))


def _tell_failing_tests(store: Store) -> None:
    """Policies that fail their tests are served all the same: who stays away protects nobody."""
    try:
        failed = [result for result in run_policy_tests(store, now=clock.now()) if not result.passed]
    except DomainError as error:
        log.warning("the tests of policies could not be run", error=str(error))
        return
    if failed:
        names = [result.name for result in failed[:_NAMED_AT_MOST]]
        log.warning("policies fail their tests: evertunnel policy test run", failed=len(failed), tests=names)


def _find_agents_port(installation: Installation) -> int | None:
    endpoint = installation.config.listen.agents
    return None if endpoint is None else split_endpoint(endpoint)[1]


def _run_gateway(installation: Installation) -> None:
    radius_address, radius_port = split_endpoint(installation.config.listen.radius)
    radius_address = _LOOPBACK.get(radius_address, radius_address)
    _, accounting_port = split_endpoint(installation.config.listen.accounting_endpoint)
    process = GatewayProcess(
        installation.open_store(),
        SignerClient(installation.folder.signer_socket),
        installation.keystore.for_process("gateway"),
        folder=installation.folder.path / "gateways",
        gate_url=f"http://{installation.config.listen.gate}",
        radius_address=radius_address,
        radius_port=radius_port,
        accounting_port=accounting_port,
        clock=clock.now,
        **installation.find_geography(),
    )
    process.run(_stop_event())


def _run_gate(installation: Installation, listener: socket.socket) -> None:
    store = installation.open_store()
    signer = SignerClient(installation.folder.signer_socket)

    keystore = installation.keystore.for_process("gate")

    def unseal(gateway: Gateway, sealed: bytes) -> str:
        return keystore.unseal(sealed, context=gate_path_context(gateway.id)).decode()

    gate = Gate(store, OCSPSigner(store, signer, Authority.DEVICE, "Evertunnel gate", clock.now), unseal, clock.now)
    _run_asgi(_asgi_server(gate.build_app(), listener))


def _run_agents(installation: Installation, listener: socket.socket) -> None:
    store = installation.open_store()
    listen = installation.config.listen
    directory = AgentDirectory(
        store,
        SignerClient(installation.folder.signer_socket),
        installation.keystore.for_process(AGENTS),
        gate=split_endpoint(listen.gate),
        radius_port=split_endpoint(listen.radius)[1],
        accounting_port=split_endpoint(listen.accounting_endpoint)[1],
        clock=clock.now,
    )
    AgentsProcess(store, directory, listener, clock.now, **installation.find_geography()).run(_stop_event())


def _find_server_certificate(installation: Installation, store: Store, key: PrivateKey, name: str) -> ServerCertificate:
    signer = SignerClient(installation.folder.signer_socket)
    return ServerCertificate(store, signer, key, name=name, clock=clock.now)


def build_https_context() -> ssl.SSLContext:
    """TLS for enrolment, without a certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def load_https_certificate(context: ssl.SSLContext, chain: Chain, key: PrivateKey) -> None:
    """For connections that begin from now on. The ssl module reads files only: the key passes one without a name."""
    descriptor = os.memfd_create("https")
    with os.fdopen(descriptor, "wb") as file:
        file.write(encode_private_key(key))
        file.writelines(certificate.public_bytes(Encoding.PEM) for certificate in chain)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")


def _asgi_server(
    app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> tuple[ASGIServer, socket.socket]:
    bounded = None if tls is None else BoundedListener(listener)
    config = uvicorn.Config(
        app,
        http=BoundedProtocol if bounded is None else build_protocol(bounded),
        ws="none",  # whichever library for it is installed
        log_level="error",  # a warning is what any stranger can have it say, as often as he likes
        lifespan="off",
        access_log=False,
        server_header=False,
        # Two of these, hands being shaken and the queue stay below the 1,024 descriptors that a process has.
        limit_concurrency=_CONNECTIONS_AT_MOST,
        backlog=_BACKLOG,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
        ssl_context_factory=(lambda _config, _default: tls) if tls is not None else None,
    )
    return ASGIServer(config), bounded or listener


def _run_asgi(
    *servers: tuple[ASGIServer, socket.socket],
    beside: Callable[[asyncio.AbstractEventLoop], None] = lambda _loop: None,
) -> None:
    """Serve until SIGTERM, which uvicorn handles. `beside` is called once with the loop that serves."""

    async def run() -> None:
        beside(asyncio.get_running_loop())
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in servers))

    asyncio.run(run())


def _start(run: Callable[..., object], *arguments: object) -> None:
    """In a thread that ends with the process."""
    threading.Thread(target=run, args=arguments, daemon=True).start()


def _stop_event() -> threading.Event:
    """Set by SIGTERM."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    return stopped
