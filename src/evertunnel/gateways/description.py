"""A gateway's row as what its strongSwan must be told. Pure."""

from collections.abc import Mapping

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from evertunnel.gateways.strongswan import GatewayModel
from evertunnel.model import Authority
from evertunnel.storage.tables import AnyRow


def describe_gateway(
    row: AnyRow, known: Mapping[Authority, x509.Certificate], certificate: x509.Certificate, *, gate_url: str
) -> GatewayModel:
    """`known` are our authorities, `certificate` is the gateway's own."""
    return GatewayModel(
        name=row.name,
        public_name=row.public_name,
        certificate_pem=encode_pem(certificate),
        chain_pem=[encode_pem(known[Authority.ISSUING])],
        device_authority_pem=encode_pem(known[Authority.DEVICE]),
        gate_url=gate_url,
        other_authorities=tuple(
            authority.subject.rfc4514_string()  # one CN without special characters: charon writes it the same
            for name, authority in known.items()
            if name is not Authority.DEVICE
        ),
        settings=row.settings,
    )


def encode_pem(certificate: x509.Certificate) -> str:
    """PEM as a text."""
    return certificate.public_bytes(Encoding.PEM).decode()
