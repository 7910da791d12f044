"""Remove a gateway: from then on nobody asks us from there, and nothing waits for it."""

from datetime import datetime

from sqlalchemy import delete

from evertunnel.actions.change_gateway import revoke_gateway_certificates
from evertunnel.actions.policy_references import verify_unnamed
from evertunnel.audit import Audit, AuditEntry
from evertunnel.model import CertificateKind
from evertunnel.storage import certificates, effect_queue, gateways, profiles, sessions, tables
from evertunnel.storage.snapshot import GATEWAY
from evertunnel.storage.store import Store

_CAUSE = "the gateway was removed"


def remove_gateway(store: Store, name: str, *, actor: str, now: datetime) -> None:
    """Its sessions end in the record, its effects are dropped, its certificates are revoked.

    Raises NotFoundError; InvalidInputError while a policy names it.
    """
    with store.write(now) as tx:
        row = gateways.get_gateway(tx.connection, name)
        verify_unnamed(tx, row.id, row.name)
        live = sessions.list_live_of_gateway(tx.connection, row.id)
        for session in live:
            sessions.end_session(tx, session.id, _CAUSE)
        dropped = effect_queue.drop_effects_of_gateway(tx, row.id, cause=_CAUSE)
        revoked = revoke_gateway_certificates(tx, row.id, list(CertificateKind), reason="cessation of operation")
        # The certificates stay on record for as long as anybody may ask about them.
        certificates.forget_owner(tx, "gateway_id", row.id)
        profiles.forget_gateway(tx, row.id)
        tx.connection.execute(delete(tables.gateways).where(tables.gateways.c.id == row.id))
        tx.raise_epoch(GATEWAY, row.id)
        details = {"sessions": len(live), "effects": dropped, "certificates": revoked, "public_name": row.public_name}
        tx.record(AuditEntry(Audit.GATEWAY_REMOVE, actor, row.name, row.id, details))
