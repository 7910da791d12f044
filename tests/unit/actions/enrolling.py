"""An installation in which Alice gets a short-lived certificate on her laptop, and the requests she makes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from sqlalchemy import select

from evertunnel.actions.assign_device import assign_device
from evertunnel.actions.import_access_policies import import_access_policies
from evertunnel.actions.issue_short_lived import ShortLivedRequest, issue_short_lived
from evertunnel.actions.report_device import report_device
from evertunnel.errors import AccessDeniedError
from evertunnel.model import Authority, CertificateKind
from evertunnel.pki.keys import PrivateKey
from evertunnel.protocols.enrolment import build_signed_text
from evertunnel.storage import tables
from evertunnel.storage.tables import AnyRow
from tests.installation import ALICE, LAPTOP, Installation, copy_installation
from tests.unit.access.samples import make_document
from tests.unit.pki.samples import make_request

PASSWORD = "correct horse"
NONCE = b"n" * 32


@dataclass
class Ready:
    """An installation in which Alice gets a short-lived certificate on her laptop."""

    installation: Installation
    user_id: str
    device_id: str
    device_certificate_id: str
    device_certificate_der: bytes
    device_key: PrivateKey

    def ask(self, **changes: Any) -> ShortLivedRequest:
        """A request; what is changed is signed over unless the signature is given."""
        request = ShortLivedRequest(
            ALICE, PASSWORD, make_request(), self.device_certificate_der, b"", NONCE, "192.0.2.7"
        )
        request = replace(request, **changes)
        if not request.device_signature:
            request = replace(request, device_signature=self.sign(request))
        return request

    def sign(self, request: ShortLivedRequest, key: PrivateKey | None = None) -> bytes:
        """The device's signature over a request."""
        text = build_signed_text(nonce=request.nonce, user_name=request.user_name, csr_der=request.csr_der)
        signer = key or self.device_key
        if isinstance(signer, rsa.RSAPrivateKey):
            return signer.sign(text, padding.PKCS1v15(), hashes.SHA256())
        return signer.sign(text, ec.ECDSA(hashes.SHA256()))

    def issue(self, request: ShortLivedRequest | None = None) -> x509.Certificate:
        """Ask for it."""
        issued = issue_short_lived(
            self.installation.store,
            self.installation.signer,
            self.installation.decider,
            request or self.ask(),
            unseal=self.installation.unseal_sign_in,
            now=self.installation.now,
        )
        return x509.load_der_x509_certificate(issued.certificate_der)

    def refuse(self, request: ShortLivedRequest | None = None) -> AnyRow:
        """Ask for it and be refused; returns the record of it."""
        with pytest.raises(AccessDeniedError) as caught:
            self.issue(request)
        assert caught.value.public == "Access was refused."
        row = self.find_attempt()
        assert (row.id, row.outcome) == (caught.value.attempt_id, "refused")
        return row

    def find_attempt(self) -> AnyRow:
        """The newest attempt."""
        with self.installation.store.read() as connection:
            return connection.execute(select(tables.attempts).order_by(tables.attempts.c.batch.desc()).limit(1)).one()


@dataclass(frozen=True)
class ReadyTemplate:
    """A database in which all that is prepared, to be copied for each test: hashing a password takes its time."""

    path: Path
    authority_keys: Mapping[Authority, PrivateKey]
    ready: Ready

    def copy(self, path: Path) -> Ready:
        """An installation of the test's own."""
        return replace(self.ready, installation=copy_installation(self.path, path, self.authority_keys))


def make_ready(installation: Installation, key: PrivateKey) -> Ready:
    """Prepare an installation."""
    user_id, device_id = installation.add_user(password=PASSWORD), installation.add_device()
    issued = installation.issue(CertificateKind.DEVICE, LAPTOP, key=key, device_id=device_id)
    installation.do(assign_device, LAPTOP, ALICE)
    installation.do(report_device, LAPTOP, "compliant", value=True, source="administrator")
    installation.do(import_access_policies, make_document("compliantDevice"))
    return Ready(installation, user_id, device_id, issued.id, issued.certificate_der, key)
