"""What stored facts tell conditional access: risks, the platform, and properties for device filters."""

from datetime import timedelta

from evertunnel.access.conditional.sign_in import DISPUTED
from evertunnel.access.facts import SignInFacts
from evertunnel.access.told_facts import read_told_facts
from evertunnel.model import Fact
from tests.unit.access.samples import NOW, make_facts, say


def tell(**device: str) -> dict[str, tuple[Fact, ...]]:
    return {name: (Fact(name, value, "mdm", NOW),) for name, value in device.items()}


def test_nothing_told_is_nothing_known() -> None:
    assert read_told_facts(make_facts()) == SignInFacts()
    assert read_told_facts(make_facts(say("true"))) == SignInFacts()


def test_properties_platform_and_risks() -> None:
    facts = make_facts(
        device_facts=tell(
            model="Latitude", physicalIds="[ZTDId]:1;[OrderId]:2", operatingSystem="MacMDM", firewall="true"
        ),
        user_facts={"user_risk": (Fact("user_risk", "low", "mdm", NOW), Fact("user_risk", "high", "script", NOW))},
    )
    assert read_told_facts(facts) == SignInFacts(
        platform="macOS",
        user_risk="high",
        device={"model": "Latitude", "physicalIds": ("[ZTDId]:1", "[OrderId]:2"), "operatingSystem": "MacMDM"},
    )


def test_what_ran_out_is_told_no_more_and_a_disputed_platform_may_be_any() -> None:
    old = Fact("model", "Latitude", "mdm", NOW - timedelta(days=2), NOW - timedelta(days=1))
    assert read_told_facts(make_facts(device_facts={"model": (old,)})) == SignInFacts()
    systems = (Fact("operatingSystem", "Windows", "mdm", NOW), Fact("operatingSystem", "Linux", "device", NOW))
    found = read_told_facts(make_facts(device_facts={"operatingSystem": systems}))
    assert (found.platform, found.device) == (DISPUTED, {"operatingSystem": "Windows"})
