"""PostgreSQL servers of our own, from Debian's package, on a Unix socket in a folder of their own."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg

from evertunnel.model import Authority
from evertunnel.pki.keys import PrivateKey
from evertunnel.storage.tables import metadata

ROLE = "evertunnel"
_PREFIX = "evertunnel-postgresql-"


def find_programs() -> Path:
    """The folder of the newest version's programs, which Debian keeps out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    return found[-1].parent


class Server:
    """One server. It may be killed and started again; what it said is in `log`."""

    def __init__(self, folder: Path, port: int = 5432) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = port
        self._programs = find_programs()
        # PostgreSQL does not run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(folder, self._user)

    @property
    def log(self) -> str:
        return (self.folder / f"log.{self.port}").read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """The process whose children do the work."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str, *more: "Server", options: str = "") -> str:
        """The URL of a database here, or on whichever of several servers takes writes."""
        servers = (self, *more)
        hosts = ",".join(str(server.folder) for server in servers)
        ports = ",".join(str(server.port) for server in servers)
        return f"postgresql://{ROLE}@/{database}?host={hosts}&port={ports}{options and '&options=' + options}"

    def create(self, *, trusting: bool = False) -> None:
        """A cluster where everybody on this machine who may enter the folder is our role, by peer authentication.

        It wants users to have names. `trusting` asks nobody anything.
        """
        self.run("initdb", "--pgdata", str(self.data), "--username", ROLE, "--auth-local", "peer",
                 "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")  # fmt: skip
        method = "trust" if trusting else "peer map=tests"
        self._write("pg_hba.conf", f"local all all {method}\nlocal replication all {method}\n")
        self.folder.chmod(0o711 if trusting else 0o700)
        self._write("pg_ident.conf", f"tests /^.*$ {ROLE}\n")

    def copy_from(self, other: "Server", *, name: str) -> None:
        """A standby of another server, which knows it by a name."""
        connection = f"host={other.folder} port={other.port} user={ROLE} application_name={name}"
        self.run("pg_basebackup", "--pgdata", str(self.data), "--dbname", connection, "--write-recovery-conf",
                 "--checkpoint", "fast", "--no-sync")  # fmt: skip

    def start(self, **settings: str) -> None:
        """Start and wait until it answers."""
        given = {"listen_addresses": "", "unix_socket_directories": str(self.folder), "port": str(self.port)}
        options = [f"-c{name}={value}" for name, value in (given | settings).items()]
        with (self.folder / f"log.{self.port}").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, *options],
                user=self._user, cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.wait()

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + 30
        while True:
            assert self._process is not None and self._process.poll() is None, self.log
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until, self.log
                time.sleep(0.01)
            else:
                return

    def kill(self) -> None:
        """SIGKILL to every process of it, as when the machine loses power."""
        assert self._process is not None
        parent = self._process.pid
        os.kill(parent, signal.SIGSTOP)  # or it would start others
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        os.kill(parent, signal.SIGKILL)
        self._process.wait()
        while any(_lives(int(child)) for child in children):  # no server starts while one holds the shared memory
            time.sleep(0.002)

    def stop(self) -> None:
        """End it without waiting for clients."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=30)

    def promote(self) -> None:
        """A standby takes over."""
        self.run("pg_ctl", "promote", "--pgdata", str(self.data))

    def execute(self, statement: str, database: str = "postgres") -> None:
        """As an administrator."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def make_database(self, template: str = "template1") -> str:
        """A database of its own; returns its name."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Whoever uses it."""
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def run(self, program: str, *arguments: str) -> None:
        """One of PostgreSQL's programs, as its user."""
        done = subprocess.run(
            [self._programs / program, *arguments], user=self._user, cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def _write(self, name: str, text: str) -> None:
        (self.data / name).write_text(text, encoding="ascii")


def _lives(pid: int) -> bool:
    """Whether a process still has its memory: it is neither gone nor waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


@contextmanager
def running(*, durable: bool = False, trusting: bool = False, **settings: str) -> Iterator[Server]:
    """A new server, gone afterwards. Without `durable` it does not wait for the disk, which a SIGKILL does not lose."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))  # a socket's path has 107 characters at most
    server = Server(folder)
    quick = {} if durable else {"fsync": "off", "full_page_writes": "off"}
    try:
        server.create(trusting=trusting)
        server.start(max_connections="200", shared_buffers="32MB", **(quick | settings))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standing_by(primary: Server, name: str) -> Iterator[Server]:
    """A standby of a server, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
    server = Server(folder, primary.port + 1)
    try:
        server.copy_from(primary, name=name)
        server.start(max_connections="200", shared_buffers="32MB")
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Original:
    """An installation in a database, and copies of its rows beside it, from which it is put back in milliseconds."""

    def __init__(self, url: str, keys: Mapping[Authority, PrivateKey]) -> None:
        self.url = url
        self.keys = keys
        names = [f'"{table.name}"' for table in metadata.sorted_tables]
        delete = [f"DELETE FROM {name}" for name in reversed(names)]
        insert = [f"INSERT INTO {name} SELECT * FROM original.{name}" for name in names]
        self._restore = ";".join(delete + insert)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA original")
            for name in names:
                connection.execute(f"CREATE TABLE original.{name} AS TABLE public.{name}")

    def restore(self) -> None:
        """As if nothing had happened since."""
        with psycopg.connect(self.url) as connection:
            connection.execute(self._restore)
