"""The hash chain over committed batches of audit entries and attempts. Pure: rows in, hashes out."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from evertunnel.model import Attempt
from evertunnel.storage.recorded_results import encode_results
from evertunnel.storage.tables import encode_time

AUDIT_COLUMNS = ("id", "at", "name", "actor", "subject", "subject_id", "details")
ATTEMPT_COLUMNS = (
    "id",
    "at",
    "kind",
    "outcome",
    "reason",
    "detail",
    "gateway_id",
    "user_id",
    "device_id",
    "certificate_id",
    "session_id",
    "claimed_identity",
    "client_address",
    "duration_microseconds",
    "story",
)


def clean_text(text: str) -> str:
    """Without NUL, which PostgreSQL cannot keep: one stranger's name would undo the records of everybody beside it."""
    return text.replace("\x00", "\ufffd")


def build_attempt_row(attempt: Attempt, *, batch: int) -> dict[str, Any]:
    """An attempt as the columns of its table, as the driver stores them."""
    story: dict[str, Any] = {
        "steps": [tuple(step) for step in attempt.steps],
        "results": encode_results(attempt.results),
    }
    if attempt.methods:  # logins with a certificate have none of their own, and are many
        story["methods"] = attempt.methods
    if attempt.login is not None:
        story["login"] = attempt.login
    if attempt.facts is not None:
        story["facts"] = attempt.facts
    return {
        "id": attempt.id,
        "at": encode_time(attempt.at),
        "kind": attempt.kind.value,
        "outcome": attempt.outcome.value,
        "reason": attempt.reason.value,
        "detail": clean_text(attempt.detail),
        "gateway_id": attempt.gateway_id,
        "user_id": attempt.user_id,
        "device_id": attempt.device_id,
        "certificate_id": attempt.certificate_id,
        "session_id": attempt.session_id,
        "claimed_identity": clean_text(attempt.claimed_identity),
        "client_address": clean_text(attempt.client_address),
        "duration_microseconds": round(attempt.duration_ms * 1000),
        "story": orjson.dumps(story).decode(),
        "batch": batch,
    }


def hash_content(audit: Sequence[dict[str, Any]], attempts: Sequence[dict[str, Any]]) -> bytes:
    """SHA-256 over the rows of a batch, each as a JSON array of its columns, in the order of their ids."""
    digest = hashlib.sha256()
    for label, columns, rows in (
        (b"audit", AUDIT_COLUMNS, audit),
        (b"attempts", ATTEMPT_COLUMNS, attempts),
    ):
        digest.update(label)
        for row in sorted(rows, key=lambda row: row["id"]):
            digest.update(orjson.dumps([_plain(row[column]) for column in columns]))
    return digest.digest()


def hash_batch(number: int, previous_hash: bytes, committed_at: int, epoch: int, content_hash: bytes) -> bytes:
    """SHA-256 over a batch's own columns and the hash of the batch before."""
    header = b"%d|%d|%d|" % (number, committed_at, epoch)
    return hashlib.sha256(header + previous_hash + content_hash).digest()


def build_batch(
    *,
    number: int,
    previous_hash: bytes,
    committed_at: int,
    epoch: int,
    audit: Sequence[dict[str, Any]],
    attempts: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """The row of a batch that is about to be committed."""
    content_hash = hash_content(audit, attempts)
    return {
        "number": number,
        "committed_at": committed_at,
        "epoch": epoch,
        "content_hash": content_hash,
        "hash": hash_batch(number, previous_hash, committed_at, epoch, content_hash),
    }


def _plain(value: Any) -> Any:
    return encode_time(value) if isinstance(value, datetime) else value
