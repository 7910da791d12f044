"""eapol_test of wpa_supplicant: the supplicant half of the world."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BINARY = shutil.which("eapol_test", path="/usr/bin:/usr/sbin:/sbin:/bin") or "eapol_test"
TLS_12 = "tls_disable_tlsv1_3=1"
TLS_13 = "tls_disable_tlsv1_3=0"
TLS_11 = "tls_disable_tlsv1_1=0 tls_disable_tlsv1_2=1 tls_disable_tlsv1_3=1"


@dataclass(frozen=True)
class Outcome:
    """What eapol_test said."""

    succeeded: bool
    output: str

    @property
    def keys_that_match(self) -> int:
        return self._find_number(r"MPPE keys OK: (\d+)")

    @property
    def keys_that_differ(self) -> int:
        return self._find_number(r"MPPE keys OK: \d+ +mismatch: (\d+)")

    @property
    def versions(self) -> set[str]:
        return set(re.findall(r"Using TLS version (TLSv1\.\d)", self.output))

    @property
    def alerts(self) -> set[str]:
        """Alerts of the server."""
        return set(re.findall(r"SSL3 alert: read \(remote end reported an error\):fatal:(.+)", self.output))

    @property
    def resumed(self) -> list[str]:
        return re.findall(r"Handshake finished - resumed=(\d)", self.output)

    def _find_number(self, pattern: str) -> int:
        found = re.search(pattern, self.output)
        assert found is not None, self.output[-2_000:]
        return int(found[1])


class Supplicant:
    """eapol_test pointed at a policy server."""

    def __init__(self, *, port: int, secret: bytes, root_file: Path, folder: Path) -> None:
        self._port, self._secret, self._root_file, self._folder = port, secret, root_file, folder

    def log_in(
        self,
        pem: bytes | None,
        identity: str,
        *,
        version: str = TLS_13,
        method: str = "TLS",
        fragment_bytes: int = 1_300,
        again: int = 0,
        server_name: str = "localhost",
        root_file: Path | None = None,
        password: str = "unused",
        inner: str = "",
        anonymous: str = "",
        outer_options: str = "",
        inner_options: str = "",
        framed_mtu: int | None = None,
        seconds: int = 20,
        fast_reauth: bool = True,
        address: str = "",
        more: Sequence[str] = (),
    ) -> Outcome:
        """One login, and `again` more after it. `pem` is key, certificate and chain; None is none.

        `inner` is the method inside PEAP, `anonymous` the identity outside it. `address` is where
        the gateway says that it comes from.
        """
        lines = [
            "key_mgmt=IEEE8021X",
            "eapol_flags=0",
            f"eap={method}",
            f'identity="{identity}"',
            f'password="{password}"',
            f'ca_cert="{root_file or self._root_file}"',
            f'domain_match="{server_name}"',
            f'phase1="{version} {outer_options}"',
            f"fragment_size={fragment_bytes}",
        ]
        lines += more
        if inner:
            lines.append(f'phase2="auth={inner} {inner_options}"')
        if anonymous:
            lines.append(f'anonymous_identity="{anonymous}"')
        if pem is not None:
            pem_file = self._folder / "client.pem"
            pem_file.write_bytes(pem)
            number = "2" if inner else ""
            lines += [f'client_cert{number}="{pem_file}"', f'private_key{number}="{pem_file}"']
            if inner:
                lines += [f'ca_cert2="{root_file or self._root_file}"']
        configuration = self._folder / "eapol_test.conf"
        text = f"fast_reauth={int(fast_reauth)}\nnetwork={{\n" + "\n".join(lines) + "\n}\n"
        configuration.write_text(text, encoding="utf-8")
        command = [BINARY, "-c", str(configuration), "-a", "127.0.0.1", "-p", str(self._port),
                   "-s", self._secret.decode(), "-r", str(again), "-t", str(seconds)]  # fmt: skip
        if framed_mtu is not None:
            command += ["-N", f"12:d:{framed_mtu}"]
        command += [f"-N31:s:{address}"] if address else []
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
        return Outcome(done.returncode == 0 and done.stdout.rstrip().endswith("SUCCESS"), done.stdout)
