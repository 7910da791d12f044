"""Run the self-tests of policies: by the policies of a transaction, with those they name as on record there.

Everything else is what the test gives. Nothing of the time, of facts or of denials counts, so a test says the same
until somebody changes it, a policy, or a group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from evertunnel.access.decision import Policies
from evertunnel.access.documents import PolicyError
from evertunnel.access.policy_test_results import PolicyTestResult, refuse_test, run_policy_test
from evertunnel.access.policy_tests import PolicyTest, compile_policy_test
from evertunnel.access.what_if import suppose_certificate
from evertunnel.actions.compile_policies import PolicyCompiler
from evertunnel.actions.decide import Decider
from evertunnel.errors import NotFoundError
from evertunnel.model import Device, Gateway, TunnelKind, User
from evertunnel.storage import policy_tests
from evertunnel.storage.store import Store, read_epoch

_NOTHING_KNOWN = Decider()  # it followed no database, so what it gathers is what it is given


@dataclass(frozen=True, slots=True)
class NamedTest:
    """A test and the ids of those it names: of its user, device and gateway, where it names one."""

    name: str
    document: Any
    resolved: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scene:
    """Tests, policies and those the tests name, as of one epoch. Empty without tests: then nothing was compiled."""

    epoch: int = 0
    tests: Sequence[NamedTest] = ()
    policies: Policies = field(default_factory=Policies)
    users: Mapping[str, User] = field(default_factory=dict)
    devices: Mapping[str, Device] = field(default_factory=dict)
    gateways: Mapping[str, Gateway] = field(default_factory=dict)

    def run(self, now: datetime) -> list[PolicyTestResult]:
        """The result of every test, in their order."""
        return [self._run(each, now) for each in self.tests]

    def list_failed(self, now: datetime) -> list[PolicyTestResult]:
        """The results of those that fail."""
        return [result for result in self.run(now) if not result.passed]

    def _run(self, named: NamedTest, now: datetime) -> PolicyTestResult:
        try:
            test = compile_policy_test(named.document)
        except PolicyError as error:  # of a version that knew other words
            return PolicyTestResult(named.name, "", problem=f"it cannot be read: {error}")
        resolved = named.resolved
        user = self.users.get(resolved.get("user", ""))
        device = self.devices.get(resolved.get("device", ""))
        gateway = self.gateways.get(resolved.get("gateway", ""))
        found = {"user": (test.user, user), "device": (test.device, device), "gateway": (test.gateway, gateway)}
        for kind, (name, known) in found.items():
            if name and known is None:
                problem = f"the {kind} {name!r} it names was removed: change the test, or remove it"
                return refuse_test(test, problem)
        return run_policy_test(test, self.policies, _gather(test, user, device, gateway, now))


def _gather(test: PolicyTest, user: User | None, device: Device | None, gateway: Gateway | None, now: datetime) -> Any:
    tunnel = test.tunnel
    certificate = None
    if tunnel is not None:
        certificate = suppose_certificate(tunnel, test.certificate, user, device, at=now)
    known_user = None if tunnel is TunnelKind.DEVICE else user
    facts = _NOTHING_KNOWN.gather_facts(at=now, tunnel=tunnel, user=known_user, device=device, certificate=certificate)
    return replace(facts, gateway=gateway)


class Bench:
    """Sets tests up in one transaction after another; policies that did not change are compiled once."""

    def __init__(self) -> None:
        self._compiler = PolicyCompiler()

    def set_up(
        self, connection: Connection, *, tests: Sequence[NamedTest] | None = None, epoch: int | None = None
    ) -> Scene:
        """What stands in this transaction, for the tests on record or for others. A writing one knows its `epoch`."""
        epoch = read_epoch(connection) if epoch is None else epoch
        if tests is None:
            rows = policy_tests.list_policy_tests(connection)
            tests = [NamedTest(row.name, row.document, row.resolved) for row in rows]
        if not tests:
            return Scene(epoch)
        return Scene(
            epoch,
            tests,
            self._compiler.read(connection),
            policy_tests.load_users(connection, _list_ids(tests, "user")),
            policy_tests.load_devices(connection, _list_ids(tests, "device")),
            policy_tests.load_gateways(connection, _list_ids(tests, "gateway")),
        )


def run_policy_tests(store: Store, names: Sequence[str] | None = None, *, now: datetime) -> list[PolicyTestResult]:
    """Run those on record, or some of them by name. Raises NotFoundError."""
    tests = None
    with store.read() as connection:
        if names is not None:
            rows = [get_policy_test(connection, name) for name in names]
            tests = [NamedTest(row.name, row.document, row.resolved) for row in rows]
        scene = Bench().set_up(connection, tests=tests)
    return scene.run(now)


def get_policy_test(connection: Connection, name: str) -> Any:
    """A test's row, by name or id. Raises NotFoundError."""
    row = policy_tests.find_policy_test(connection, name)
    if row is None:
        raise NotFoundError(
            f"there is no policy test {name[:100]!r}; `evertunnel policy test list` shows those that exist"
        )
    return row


def _list_ids(tests: Sequence[NamedTest], kind: str) -> set[str]:
    return {test.resolved[kind] for test in tests if kind in test.resolved}
