"""A gateway of our model as strongSwan's connections, pools and authorities, and its strongswan.conf fragment. Pure.

Nothing here makes `updown` scripts or any other command, whatever stands in the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evertunnel.model import ACCOUNTING_INTERVAL_SECONDS
from evertunnel.profiles.proposals import ESP_PROPOSALS, IKE_PROPOSALS

DEVICE_CONNECTION = "evertunnel-device"
USER_CONNECTION = "evertunnel-user"
DEVICE_POOL = "evertunnel-device"
USER_POOL = "evertunnel-user"
DEVICE_AUTHORITY = "evertunnel-device"

DEVICE_LIFETIME_SECONDS = 8 * 3600
# A client that does begin anew has this long for it.
_GRACE_SECONDS = 60
# Who does not answer a DELETE is given up by strongSwan after tries that take 4 * (1 + 1.8 + 1.8^2 + 1.8^3) seconds,
# and passes traffic until then: it is sent early enough.
_RETRANSMIT_TRIES = 3
_GIVES_UP_SECONDS = 60

# One socket is one login at a time; each login in progress holds a thread while it waits for us.
_RADIUS_SOCKETS = 64
_THREADS = 2 * _RADIUS_SOCKETS + 32
_TABLE_SIZE = 8192
_TABLE_SEGMENTS = 64


@dataclass(frozen=True, slots=True)
class GatewayModel:
    """What strongSwan needs to know. Certificates in PEM.

    `other_authorities` are subjects of authorities that vouch for no device, as charon writes names.
    """

    name: str
    public_name: str
    certificate_pem: str
    chain_pem: Sequence[str]
    device_authority_pem: str
    gate_url: str
    other_authorities: tuple[str, ...]
    settings: Mapping[str, Any]


def build_connections(model: GatewayModel) -> dict[str, dict[str, Any]]:
    """The two connections, by name, as VICI's load-conn takes them."""
    device = {
        "auth": "pubkey",
        "id": "%any",
        "cacerts": [model.device_authority_pem],
        "revocation": "strict",
    }
    lifetime = int(model.settings.get("device_lifetime_seconds", DEVICE_LIFETIME_SECONDS))
    grace = min(_GRACE_SECONDS, lifetime // 4)
    deleted_after = lifetime - min(_GIVES_UP_SECONDS, lifetime // 8)
    # eap_id makes charon ask for the identity, so that the policy server sees what the client calls itself.
    user = {"auth": "eap-radius", "id": "%any", "eap_id": "%any"}
    return {
        DEVICE_CONNECTION: _build_connection(
            model, remote=device, pool=DEVICE_POOL, networks=model.settings["device_networks"]
        )
        # A client that takes no notice is ended `over_time` after the moment at which it should have begun anew: by
        # strongSwan itself, and through rekeys (docs/decisions/0015).
        | {"reauth_time": f"{deleted_after - grace}s", "over_time": f"{grace}s", "rand_time": "0s"},
        USER_CONNECTION: _build_connection(
            model, remote=user, pool=USER_POOL, networks=model.settings["user_networks"]
        ),
    }


def build_pools(model: GatewayModel) -> dict[str, dict[str, Any]]:
    """Address pools, by name, as VICI's load-pool takes them."""
    pools: dict[str, dict[str, Any]] = {}
    for name, key in ((DEVICE_POOL, "device_pool"), (USER_POOL, "user_pool")):
        pools[name] = {"addrs": model.settings[key]}
        if model.settings.get("dns"):
            pools[name]["dns"] = list(model.settings["dns"])
    return pools


def build_authorities(model: GatewayModel) -> dict[str, dict[str, Any]]:
    """The device authority, whose only OCSP address is our gate."""
    return {DEVICE_AUTHORITY: {"cacert": model.device_authority_pem, "ocsp_uris": [model.gate_url]}}


_DAE = """
      dae {{
        enable = yes
        listen = {address}
        port = {port}
        secret = "{secret}"
      }}"""


def build_conf_fragment(
    *,
    radius_address: str,
    radius_port: int,
    accounting_port: int,
    radius_secret: str,
    nas_identifier: str,
    disconnect: tuple[str, int, str] | None = None,
) -> str:
    """The strongswan.conf fragment of a gateway. Secrets are of our own making: letters, digits, - and _.

    `disconnect` is address, port and secret for Disconnect- and CoA-Requests.
    """
    address, port, secret = disconnect or ("", 0, "")
    for value in (radius_address, radius_secret, nas_identifier, address, secret):
        if not all(character.isalnum() or character in "-_.:" for character in value):
            raise ValueError("a value cannot stand in strongswan.conf")
    dae = "" if disconnect is None else _DAE.format(address=address, port=port, secret=secret)
    return f"""\
# Written by evertunnel; changes are overwritten.
charon {{
  threads = {_THREADS}
  ikesa_table_size = {_TABLE_SIZE}
  ikesa_table_segments = {_TABLE_SEGMENTS}
  retransmit_tries = {_RETRANSMIT_TRIES}
  retransmit_timeout = 4.0
  retransmit_base = 1.8
  plugins {{
    revocation {{
      # The gate is the only answer; a CRL would be a road round it.
      enable_crl = no
    }}
    eap-radius {{
      accounting = yes
      accounting_interval = {ACCOUNTING_INTERVAL_SECONDS}
      accounting_requires_vip = yes
      # Our session id comes back with it.
      accounting_send_class = yes
      # We may be away; that is no reason to end a tunnel that is up.
      accounting_close_on_timeout = no
      station_id_with_port = no
      nas_identifier = {nas_identifier}
      retransmit_tries = 5
      retransmit_timeout = 1.0
      retransmit_base = 1.5{dae}
      servers {{
        evertunnel {{
          address = {radius_address}
          auth_port = {radius_port}
          acct_port = {accounting_port}
          secret = "{radius_secret}"
          sockets = {_RADIUS_SOCKETS}
        }}
      }}
    }}
  }}
}}
"""


def _build_connection(
    model: GatewayModel, *, remote: dict[str, Any], pool: str, networks: Sequence[str]
) -> dict[str, Any]:
    connection: dict[str, Any] = {
        "version": "2",
        "proposals": list(IKE_PROPOSALS),
        "fragmentation": "yes",
        "mobike": "yes",
        "send_cert": "always",
        "send_certreq": "yes",
        # An identity is a claim: with `replace` anybody could throw out whom he calls himself.
        "unique": "never",
        "dpd_delay": "30s",
        "rekey_time": "0s",
        "reauth_time": "0s",
        "encap": "yes" if model.settings.get("encap") else "no",
        "pools": [pool],
        "local": {"auth": "pubkey", "certs": [model.certificate_pem], "id": model.public_name},
        "remote": remote,
        "children": {
            "net": {
                "local_ts": list(networks),
                "esp_proposals": list(ESP_PROPOSALS),
                "rekey_time": "0s",
                "dpd_action": "clear",
            }
        },
    }
    if model.settings.get("local_addresses"):
        connection["local_addrs"] = list(model.settings["local_addresses"])
    return connection
