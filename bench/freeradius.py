"""Debian's FreeRADIUS in its stock configuration, with our certificates and CRL checking on.

It begins every login with the method that the client wants; the session cache is off unless it is to resume.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from bench.installation import Installation

PORT = 22812
_STOCK = Path("/etc/freeradius/3.0")
# Where the stock configuration switches the cache on.
_CACHE = r"enable = no(\s+#  Lifetime of the cached entries)"


@dataclass(frozen=True, slots=True)
class Setup:
    """`inner` is the method inside PEAP, `users` the NT hash of each in hexadecimal. It uses five ports from `port`."""

    port: int = PORT
    method: str = "tls"
    inner: str = "mschapv2"
    resumes: bool = False
    users: Mapping[str, str] = field(default_factory=dict)


class FreeRADIUS:
    """Serves until closed."""

    def __init__(self, folder: Path, setup: Setup | None = None) -> None:
        self._setup = setup or Setup()
        self.folder = folder / f"freeradius-{self._setup.port}"
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, installation: Installation, secret: str) -> None:
        """Copy the stock configuration, change what the comparison asks for, serve."""
        if not _STOCK.exists():
            sys.exit("FreeRADIUS is not installed: make bench installs it")
        shutil.copytree(_STOCK, self.folder, symlinks=False)
        source = installation.folder
        # CA certificates and the CRL of each in one folder, named by OpenSSL's hash: what check_crl reads.
        certificates = self.folder / "trusted"
        certificates.mkdir()
        for name in ("root", "issuing", "access"):
            shutil.copy(source / f"{name}.pem", certificates / f"{name}.pem")
            crl = subprocess.run(
                ["curl", "--silent", "--fail", f"http://127.0.0.1:{installation.http_port}/crl/{name}.crl"],
                capture_output=True,
                check=True,
            ).stdout
            subprocess.run(
                ["openssl", "crl", "-inform", "DER", "-out", str(certificates / f"{name}.crl.pem")],
                input=crl,
                check=True,
            )
        subprocess.run(["openssl", "rehash", str(certificates)], check=True)
        self._edit(
            "mods-enabled/eap",
            # First as it stands for PEAP, then for the rest: else every login begins with a refusal.
            ("default_eap_type = mschapv2", f"default_eap_type = {self._setup.inner}"),
            ("default_eap_type = md5", f"default_eap_type = {self._setup.method}"),
            (r"private_key_password = .*", "#"),
            (r"private_key_file = .*", f"private_key_file = {source}/server.key"),
            (r"certificate_file = .*", f"certificate_file = {source}/server.pem"),
            (r"ca_file = .*", f"ca_file = {source}/root.pem"),
            (r"ca_path = .*", f"ca_path = {certificates}\n\t\tcheck_crl = yes"),
        )
        self._edit(
            "radiusd.conf",
            (r"(?m)^\tuser = .*", ""),
            (r"(?m)^\tgroup = .*", ""),
            (r"(?m)^(prefix|localstatedir|logdir|raddbdir|run_dir) = .*", lambda match: self._place(match[1])),
            (r"(?m)^pidfile = .*", f"pidfile = {self.folder}/freeradius.pid"),
        )
        (self.folder / "clients.conf").write_text(
            f"client bench {{\n  ipaddr = 127.0.0.0/8\n  secret = {secret}\n  require_message_authenticator = yes\n}}\n"
        )
        ports = count(self._setup.port)  # the first listener authenticates, the second accounts; then IPv6
        self._edit(
            "sites-enabled/default",
            (r"(?m)^\s*port = 0", lambda _match: f"port = {next(ports)}"),
            (r"(?m)^\s*ipaddr = \*", "ipaddr = 127.0.0.1"),
            (r"(?m)^\s*ipv6addr = ::", "ipv6addr = ::1"),
        )
        self._edit("sites-enabled/inner-tunnel", (r"port = 18120", lambda _match: f"port = {next(ports)}"))
        users = "".join(f"{name}\tNT-Password := 0x{nt_hash}\n" for name, nt_hash in self._setup.users.items())
        self._edit("mods-config/files/authorize", (r"\A", users))
        (self.folder / "log").mkdir()
        if self._setup.resumes:
            self._switch_cache_on()
        with (self.folder / "output.log").open("wb") as log:
            self._server = subprocess.Popen(
                ["freeradius", "-f", "-d", str(self.folder), "-l", str(self.folder / "log" / "radius.log")],
                stdout=log,
                stderr=log,
            )
        time.sleep(2)
        if self._server.poll() is not None:
            text = (self.folder / "log" / "radius.log").read_text() + (self.folder / "output.log").read_text()
            sys.exit(f"FreeRADIUS did not start:\n{text}")

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            self._server.wait(timeout=20)

    def find_processes(self) -> dict[str, list[int]]:
        """Its one process."""
        assert self._server is not None
        return {"freeradius": [self._server.pid]}

    def _switch_cache_on(self) -> None:
        """The session cache, which is on disk: that in memory is gone from this version, as its configuration says."""
        (self.folder / "log" / "tlscache").mkdir()
        eap = self.folder / "mods-enabled" / "eap"
        if not re.search(_CACHE, eap.read_text()):
            sys.exit(f"{eap}: the session cache is not where it was in FreeRADIUS 3.2")
        self._edit(
            "mods-enabled/eap",
            (_CACHE, r"enable = yes\1"),
            (r"#\s*name = \"EAP module\"", 'name = "EAP module"'),
            (r"#\s*persist_dir = ", "persist_dir = "),
        )

    def _place(self, name: str) -> str:
        places = {
            "prefix": "/usr",
            "localstatedir": str(self.folder),
            "logdir": str(self.folder / "log"),
            "raddbdir": str(self.folder),
            "run_dir": str(self.folder),
        }
        return f"{name} = {places[name]}"

    def _edit(self, name: str, *changes: tuple[str, object]) -> None:
        path = self.folder / name
        text = path.read_text()
        for pattern, replacement in changes:
            text = re.sub(pattern, replacement, text)  # type: ignore[call-overload]
        path.write_text(text)
