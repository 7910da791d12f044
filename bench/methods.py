"""Server CPU per login by EAP method, in a large installation, ours against FreeRADIUS.

Every method has a gateway of its own, whose policies name it first, and a FreeRADIUS of its own, which begins with it:
no login starts with an offer that the client refuses.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench import organisation
from bench.eap_tls import Processes, Run, measure_logins
from bench.freeradius import PORT, FreeRADIUS, Setup
from bench.handshake import measure_handshake
from bench.large_installation import P256, PASSWORD, RSA, LargeInstallation
from bench.organisation import BY_CERTIFICATE, BY_CERTIFICATE_IN_PEAP, BY_PASSWORD_IN_PEAP, CLIENTS
from bench.supplicants import Supplicant, count_resumed, log_in
from evertunnel.protocols.eap.mschapv2_keys import hash_password_nt

_ROUNDS = 3
_LOGINS = 512
# One name may be tried ten times a minute from one address, which its workers share: three are always allowed.
_LOGINS_BY_PASSWORD = 3
# In the words of eapol_test: outside a tunnel and inside.
_NAKS = ("EAP: Building EAP-Nak", "Phase 2 Request: Nak")
_FULL = "tls_disable_tlsv1_3=1 tls_disable_session_ticket=1"
_RESUMING = "tls_disable_tlsv1_3=1 tls_disable_session_ticket=0"


@dataclass(frozen=True, slots=True)
class Method:
    """One row. `gateway` is ours to ask from; `theirs` what FreeRADIUS begins with, outside PEAP and inside."""

    words: str
    gateway: str
    theirs: tuple[str, str]
    keys: str = P256
    resumes: bool = False


TLS = Method("EAP-TLS, P-256", BY_CERTIFICATE, ("tls", "tls"))
TLS_RSA = Method("EAP-TLS, RSA-2048", BY_CERTIFICATE, ("tls", "tls"), keys=RSA)
PEAP_MSCHAPV2 = Method("PEAP with EAP-MSCHAPv2", BY_PASSWORD_IN_PEAP, ("peap", "mschapv2"))
PEAP_TLS = Method("PEAP with EAP-TLS, P-256", BY_CERTIFICATE_IN_PEAP, ("peap", "tls"))
TLS_RESUMED = Method("EAP-TLS, P-256, resumed", BY_CERTIFICATE, ("tls", "tls"), resumes=True)
METHODS = (TLS, TLS_RSA, PEAP_MSCHAPV2, PEAP_TLS, TLS_RESUMED)
# What is alternated. A method that wakes a second worker is not to be felt by others: it sleeps again after a while.
_GROUPS = ((TLS, TLS_RESUMED), (PEAP_TLS,), (TLS_RSA,), (PEAP_MSCHAPV2,))
_SLEEPS_AFTER_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Runs of one method. `handshake_ms` is what OpenSSL alone takes for a full handshake with such keys.

    `awake` is how many of our RADIUS workers took logins at the end of each run.
    """

    ours: list[Run] = field(default_factory=list)
    awake: list[int] = field(default_factory=list)
    theirs: list[Run] = field(default_factory=list)
    handshake_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Who is asked for one method."""

    method: Method
    installation: LargeInstallation
    freeradius: FreeRADIUS
    port: int
    secret: str


def measure_methods(folder: Path) -> dict[str, Compared]:
    """By `words` of a method: alternated runs."""
    measured = {method.words: Compared() for method in METHODS}
    with ExitStack() as stack:
        installations = {
            keys: _start(stack, LargeInstallation(folder / f"large-{keys}", first_port=port, keys=keys))
            for keys, port in ((P256, 25_000), (RSA, 27_000))
        }
        pairs = {
            method: _pair(stack, folder, installations[method.keys], method, PORT + 10 * number)
            for number, method in enumerate(METHODS)
        }
        for group in _GROUPS:
            _wait_for_sleep(installations[group[0].keys])
            for number in range(_ROUNDS):
                for method in group:
                    _compare(pairs[method], measured[method.words], number)
    return measured


def _wait_for_sleep(installation: LargeInstallation) -> None:
    """Until one RADIUS worker takes all logins again, as after the start."""
    deadline = time.monotonic() + _SLEEPS_AFTER_SECONDS
    while installation.count_awake() > 1 and time.monotonic() < deadline:
        time.sleep(0.5)


def _start(stack: ExitStack, installation: LargeInstallation) -> LargeInstallation:
    print(f"{organisation.USERS:,} users, keys {installation.keys}", flush=True)
    stack.callback(installation.close)
    installation.start()
    installation.write_client_files()
    installation.write_server_files()
    return installation


def _pair(stack: ExitStack, folder: Path, installation: LargeInstallation, method: Method, port: int) -> _Pair:
    nt_hash = hash_password_nt(PASSWORD).hex()
    users = {organisation.name_user(number): nt_hash for number in range(1, organisation.USERS + 1)}
    outer, inner = method.theirs
    freeradius = FreeRADIUS(folder, Setup(port, outer, inner, resumes=method.resumes, users=users))
    stack.callback(freeradius.close)
    secret = installation.read_radius_secret(method.gateway)
    freeradius.start(installation, secret)
    return _Pair(method, installation, freeradius, port, secret)


def _compare(pair: _Pair, compared: Compared, number: int) -> None:
    """A run each."""
    method, installation = pair.method, pair.installation
    supplicants = _build_supplicants(method, installation, number)

    def run(port: int, find_processes: Processes) -> Run:
        done, outputs = measure_logins(lambda: log_in(supplicants, port, pair.secret), find_processes)
        _verify(method, outputs)
        return done

    compared.ours.append(run(installation.radius_port, installation.find_processes))
    compared.awake.append(installation.count_awake())
    if number == 0:
        _verify_decided(installation)
    compared.theirs.append(run(pair.port, pair.freeradius.find_processes))
    if method in (TLS, TLS_RSA):
        compared.handshake_ms.append(measure_handshake(installation.folder))
    ours, theirs = compared.ours[-1].cpu_ms_per_login, compared.theirs[-1].cpu_ms_per_login
    print(f"round {number + 1}: {method.words}: {ours:.2f} ms, FreeRADIUS {theirs:.2f} ms", flush=True)


def _build_supplicants(method: Method, installation: LargeInstallation, number: int) -> list[Supplicant]:
    """Of round `number`: each from an address of its own in the office."""
    by_password = method.gateway == BY_PASSWORD_IN_PEAP
    logins = _LOGINS_BY_PASSWORD if by_password else _LOGINS // CLIENTS
    return [
        Supplicant(
            _write_configuration(method, installation.folder, client % CLIENTS + 1),
            logins,
            source=organisation.GATEWAYS[method.gateway],
            station=organisation.choose_address(_LOGINS * number + client),
        )
        for client in range(-(-_LOGINS // logins))
    ]


def _write_configuration(method: Method, folder: Path, client: int) -> Path:
    """Of eapol_test, for the client with that number."""
    path = folder / f"supplicant-{client}.conf"
    certificate, root = f'"{folder}/client-{client}.pem"', f'"{folder}/root.pem"'
    by_password = method.gateway == BY_PASSWORD_IN_PEAP
    user = organisation.name_user(client + CLIENTS * by_password)
    lines = ["key_mgmt=WPA-EAP", f'identity="{user}"', f"ca_cert={root}"]
    lines.append(f'phase1="{_RESUMING if method.resumes else _FULL}"')
    if method.theirs[0] == "peap":
        lines += ["eap=PEAP", 'anonymous_identity="anonymous@corp.example"']
    else:
        lines += ["eap=TLS", f"client_cert={certificate}", f"private_key={certificate}"]
    if method.gateway == BY_CERTIFICATE_IN_PEAP:
        lines += [f"ca_cert2={root}", f"client_cert2={certificate}", f"private_key2={certificate}"]
        lines.append(f'phase2="auth=TLS {_FULL}"')
    if by_password:
        lines += [f'password="{PASSWORD}"', 'phase2="auth=MSCHAPV2"']
    path.write_text(f"fast_reauth={int(method.resumes)}\nnetwork={{\n" + "\n".join(lines) + "\n}\n")
    return path


def _verify(method: Method, outputs: Sequence[str]) -> None:
    """That the logins were what they are called: all full, or all but the first of each client resumed."""
    for output in outputs:
        wanted = _LOGINS // CLIENTS - 1 if method.resumes else 0
        if (resumed := count_resumed(output)) != wanted:
            sys.exit(f"{method.words}: {resumed} sessions were resumed, and not {wanted}:\n{output[-1500:]}")
        if any(words in output for words in _NAKS):
            sys.exit(f"{method.words}: a login began with a method that the client refuses:\n{output[:1500]}")


def _verify_decided(installation: LargeInstallation) -> None:
    """That the newest login was decided by all conditional access policies and all network policies above its own."""
    (newest,) = installation.json("attempt", "list", "--limit", "1")
    kinds = [policy["kind"] for policy in installation.json("attempt", "show", newest["id"])["policies"]]
    last_three = organisation.NETWORK_POLICIES - 2
    if kinds.count("access") != organisation.ACCESS_POLICIES or kinds.count("network") < last_three:
        sys.exit(f"only {kinds.count('network')} and {kinds.count('access')} policies decided a login")
