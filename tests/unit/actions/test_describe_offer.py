"""What a gateway offers, from what is stored."""

from evertunnel.actions.change_network_policies import add_network_policy
from evertunnel.actions.describe_offer import describe_offer
from evertunnel.actions.switch_mschapv2 import switch_mschapv2_on
from evertunnel.model import LoginMethod
from tests.installation import Installation


def list_methods(installation: Installation) -> tuple[str, ...]:
    with installation.store.read() as connection:
        return describe_offer(connection, "gw1").methods


def test_methods_are_those_that_network_policies_allow(installation: Installation) -> None:
    installation.add_gateway()
    usual = LoginMethod.EAP_TLS, LoginMethod.PEAP_EAP_TLS
    assert list_methods(installation) == usual
    methods = ["peap-eap-mschapv2", "peap-eap-tls"]
    document = {"permission": "grant", "settings": {"authentication_methods": methods}}
    installation.do(switch_mschapv2_on, weakness_accepted=True)
    installation.do(add_network_policy, "Old clients", document)
    assert list_methods(installation) == tuple(methods)
    elsewhere = {"permission": "grant", "conditions": {"tunnel": "device"}}
    installation.do(add_network_policy, "Devices", elsewhere)
    assert list_methods(installation) == tuple(methods)
    installation.do(add_network_policy, "Users", {"permission": "grant"})
    assert set(list_methods(installation)) == {*methods, *usual}
