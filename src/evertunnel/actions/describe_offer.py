"""What a gateway offers to clients, from what is stored: profiles are made from it and held against it."""

import hashlib

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Connection, select

from evertunnel.access.documents import PolicyError
from evertunnel.access.network_policies import compile_network_policy, list_login_methods
from evertunnel.model import AccessAuthorityState, Authority, CertificateKind, CertificateStatus, LoginMethod
from evertunnel.profiles.offer import Offer
from evertunnel.profiles.proposals import ESP_PROPOSALS, IKE_PROPOSALS
from evertunnel.storage import access_authorities, authorities, gateways, tables
from evertunnel.storage.access_authorities import AccessAuthority
from evertunnel.storage.switches import MSCHAPV2, is_on

_certificates, _policies = tables.certificates, tables.network_policies


def describe_offer(connection: Connection, gateway_name: str) -> Offer:
    """Raises NotFoundError."""
    row = gateways.get_gateway(connection, gateway_name)
    known = authorities.load_authorities(connection)
    access = access_authorities.list_access_authorities(connection)
    names = connection.execute(
        select(_certificates.c.subject_name, _certificates.c.dns_names).where(
            _certificates.c.kind == CertificateKind.POLICY_SERVER.value,
            _certificates.c.status == CertificateStatus.VALID.value,
        )
    )
    servers = sorted({name for names_row in names for name in (names_row.dns_names or [names_row.subject_name])})
    return Offer(
        gateway=row.name,
        public_name=row.public_name,
        policy_server_names=tuple(servers),
        root_hash=_hash(known[Authority.ROOT]),
        issuing_hash=_hash(known[Authority.ISSUING]),
        access_hash=_hash(known[Authority.ACCESS]),
        staged_access_hashes=_hash_all(access, AccessAuthorityState.STAGED),
        retired_access_hashes=_hash_all(access, AccessAuthorityState.RETIRED),
        device_hash=_hash(known[Authority.DEVICE]),
        ike_proposals=IKE_PROPOSALS,
        esp_proposals=ESP_PROPOSALS,
        device_networks=tuple(row.settings["device_networks"]),
        user_networks=tuple(row.settings["user_networks"]),
        dns=tuple(row.settings.get("dns", ())),
        methods=_list_methods(connection, row.id),
    )


def _list_methods(connection: Connection, gateway_id: str) -> tuple[LoginMethod, ...]:
    rows = connection.execute(select(_policies.c.name, _policies.c.document).order_by(_policies.c.position))
    try:
        policies = [compile_network_policy(row.name, row.document) for row in rows]
    except PolicyError:
        policies = []  # a login is decided likewise: by none of them
    return list_login_methods(policies, gateway_id, passwords=is_on(connection, MSCHAPV2))


def _hash_all(access: list[AccessAuthority], state: AccessAuthorityState) -> tuple[str, ...]:
    return tuple(_hash(each.certificate) for each in access if each.state is state and each.trusted)


def _hash(certificate: x509.Certificate) -> str:
    """The thumbprint as Windows shows it; it selects a certificate and protects nothing."""
    return hashlib.sha1(certificate.public_bytes(Encoding.DER), usedforsecurity=False).hexdigest()
