"""Sessions that differ in nothing a policy looks at, until a test changes that."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from evertunnel.access.computed_risks import Place
from evertunnel.access.conditional.policies import compile_access_policy
from evertunnel.access.decision import Policies
from evertunnel.access.facts import COMPLIANT
from evertunnel.access.network_policies import NetworkPolicy
from evertunnel.actions.decide import Decider, _list_asked
from evertunnel.actions.decide_alike import find_refused
from evertunnel.model import (
    Authority,
    Certificate,
    CertificateKind,
    CertificateStatus,
    Device,
    Fact,
    Gateway,
    User,
)
from evertunnel.storage.live_sessions import LiveSession
from evertunnel.storage.tables import encode_time
from tests.unit.access.conditional.random_policies import RESOLVED
from tests.unit.access.conditional.samples import LOCATIONS
from tests.unit.access.samples import NOW


def find_country(address: IPv4Address | IPv6Address) -> str | None:
    return {"203.0.113.9": "FR", "203.0.113.10": "DE", "2001:db8::1": ""}.get(str(address))


def find_place(address: IPv4Address | IPv6Address) -> Place | None:
    return Place(48.1, 11.5, 10) if str(address).startswith("203.0.113.") else None


class Scene:
    """Hundreds who differ in all that no policy looks at: names, addresses, devices, when facts were seen and end."""

    def __init__(self, *documents: dict[str, Any], count: int = 300) -> None:
        self.decider = Decider(find_country, find_place)
        known = self.decider.snapshot
        known.gateways["gw1"] = Gateway("gw1", "gw1", "")
        self.rows = []
        for number in range(count):
            user, device, certificate = f"u{number}", f"d{number}", f"c{number}"
            seen, ends = NOW - timedelta(seconds=number), NOW + timedelta(seconds=number + 1)
            known.users[user] = User(user, f"{user}@corp.example")
            known.devices[device] = Device(device, f"{device}.corp.example", users=frozenset({user}))
            known.device_facts[device] = {
                COMPLIANT: (Fact(COMPLIANT, "true", "mdm", seen, ends, f"about {number}"),),
                "serialNumber": (Fact("serialNumber", str(number), "mdm", seen),),
            }
            known.certificates_by_id[certificate] = Certificate(
                certificate, Authority.ACCESS, number, CertificateKind.SHORT_LIVED, CertificateStatus.VALID, ends,
                user, device, None, ("password",), seen,
            )  # fmt: skip
            self.rows.append(
                LiveSession(
                    f"s{number}", "user", "up", "gw1", user, device, certificate, f"198.51.100.{number % 256}",
                    None, encode_time(seen), None,
                )
            )  # fmt: skip
        self.put_policies([NetworkPolicy("everybody", True, True)], documents)

    def put_policies(self, network: list[NetworkPolicy], documents: Sequence[dict[str, Any]] = ()) -> None:
        access = [compile_access_policy(each, RESOLVED | {"u0": "u0"}, locations=LOCATIONS) for each in documents]
        self.decider._policies, self.decider._asks = Policies(network, access), _list_asked(network, access)

    def change(self, table: str, key: str, **values: Any) -> None:
        """Something else is known of a user, a device or a certificate."""
        known = getattr(self.decider.snapshot, table)
        known[key] = replace(known[key], **values)

    def change_second(self, **values: Any) -> None:
        self.rows[1] = self.rows[1]._replace(**values)

    def say(self, name: str, *values: str, source: str = "mdm") -> None:
        """A fact of each device or, where it is a risk, of each user. The last is of the second."""
        facts = self.decider.snapshot.user_facts if name.endswith("risk") else self.decider.snapshot.device_facts
        for number, value in enumerate((values[0], values[-1])):
            known = facts.setdefault(f"{'u' if name.endswith('risk') else 'd'}{number}", {})
            known[name] = (Fact(name, value, source, NOW),)

    def count_decisions(self, monkeypatch: pytest.MonkeyPatch) -> int:
        asked: list[object] = []
        decide = self.decider.decide_tunnel
        with monkeypatch.context() as counting:
            counting.setattr(
                self.decider, "decide_tunnel", lambda *told, **named: asked.append(told) or decide(*told, **named)
            )
            assert find_refused(self.decider, self.rows, now=NOW) == set()
        return len(asked)
