"""Brings tunnels up through the local strongSwan, and notices when they end."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from evertunnel.errors import UnavailableError
from evertunnel.vici_connection import Section, ViciConnection

_INITIATE_MS = 15_000
# The gateway takes the session off its list when it hears of the end, and otherwise minutes later.
_FAREWELL_MS = 2_000
# Windows' recommended suite and ours; a gateway of ours has all of them.
_IKE_PROPOSALS = ("aes256gcm16-prfsha384-ecp384", "aes128gcm16-prfsha256-ecp256")
_ESP_PROPOSALS = ("aes256gcm16-ecp384", "aes128gcm16-ecp256")


@dataclass(frozen=True, slots=True)
class TunnelPlan:
    """A tunnel to bring up. With `user_name` by EAP-TLS, without by the certificate alone. PEM texts.

    `policy_server_name` is what the policy server's certificate must say, by default the gateway's name.
    A gateway of ours takes no other `claimed_identity` than the certificate's subject, which is the default.
    """

    name: str
    gateway_address: str
    gateway_name: str
    networks: Sequence[str]
    certificate_pem: str
    chain_pem: Sequence[str]
    key_pem: str
    root_pem: str
    user_name: str | None = None
    policy_server_name: str | None = None
    claimed_identity: str | None = None
    encap: bool = False
    ike_proposals: Sequence[str] = _IKE_PROPOSALS
    esp_proposals: Sequence[str] = _ESP_PROPOSALS


def bring_up(vici: ViciConnection, plan: TunnelPlan) -> str:
    """Returns the name of the key that strongSwan now holds. Raises UnavailableError when it does not come up."""
    for pem in (plan.root_pem, *plan.chain_pem):
        vici.load_certificate(pem, authority=True)
    vici.load_certificate(plan.certificate_pem, authority=False)
    key_id = vici.load_key(plan.key_pem)
    vici.load_connection(plan.name, _build_connection(plan))
    vici.initiate(plan.name, timeout_ms=_INITIATE_MS)
    return key_id


def take_down(vici: ViciConnection, name: str, *, key_id: str | None = None) -> None:
    """End the tunnel and forget connection and key. Fine when they are gone already."""
    for tunnel in find_tunnels(vici, name):
        vici.terminate(int(tunnel["uniqueid"]), farewell_ms=_FAREWELL_MS)
    with contextlib.suppress(UnavailableError):
        vici.unload_connection(name)
    if key_id is not None:
        with contextlib.suppress(UnavailableError):
            vici.unload_key(key_id)


def find_tunnels(vici: ViciConnection, name: str) -> list[Section]:
    """Established tunnels of a connection."""
    return [tunnel for tunnel in vici.list_tunnels() if tunnel["name"] == name and tunnel.get("state") == "ESTABLISHED"]


def _build_connection(plan: TunnelPlan) -> Section:
    local: Section = {"auth": "pubkey", "certs": [plan.certificate_pem]}
    if plan.claimed_identity is not None:
        local["id"] = plan.claimed_identity
    if plan.user_name is not None:
        # aaa_id: the policy server must prove its name, or anybody's TLS server would do.
        local = {
            "auth": "eap-tls",
            "certs": [plan.certificate_pem],
            "eap_id": plan.user_name,
            "aaa_id": plan.policy_server_name or plan.gateway_name,
        }
    return {
        "version": "2",
        "proposals": list(plan.ike_proposals),
        "remote_addrs": [plan.gateway_address],
        "vips": ["0.0.0.0"],  # noqa: S104  asks for any address, listens nowhere
        "encap": "yes" if plan.encap else "no",
        "dpd_delay": "10s",
        "local": local,
        "remote": {"auth": "pubkey", "id": plan.gateway_name, "cacerts": [plan.root_pem]},
        "children": {
            "net": {
                "remote_ts": list(plan.networks),
                "esp_proposals": list(plan.esp_proposals),
                "dpd_action": "clear",
            }
        },
    }
