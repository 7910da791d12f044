"""The schema, once, for SQLite and PostgreSQL. Times are microseconds since 1970 UTC; ids are random hex text."""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from evertunnel.storage.column_types import UTCTime as UTCTime
from evertunnel.storage.column_types import decode_time as decode_time
from evertunnel.storage.column_types import encode_time as encode_time

AnyRow = Row[*tuple[Any, ...]]
# Of indexes that hold some rows only.
_ACTIVE, _LIVES = text("state = 'active'"), text("state != 'ended'")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[str]:
    return Column("id", Text, primary_key=True)


# One row. Every writing transaction reads it first and holds it until it commits, so that granting and
# taking away are in one order, and every batch follows exactly one other.
ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("batch_number", BigInteger, nullable=False),
    Column("batch_hash", LargeBinary, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("committed_at", UTCTime, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

# What each epoch took away or granted, so that a reader of epoch n can follow to n+k without reading all.
changes = Table(
    "changes",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", UTCTime, nullable=False),
    Column("name", Text, nullable=False, index=True),
    Column("actor", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("batch", BigInteger, nullable=False, index=True),
)

users = Table(
    "users",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("password_hash", Text),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    Column("sid", Text),  # the security identifier in a Windows domain
    Column("nt_hash_sealed", LargeBinary),  # only while MS-CHAPv2 is switched on
    Column("password_expired", Boolean, nullable=False, server_default=false()),
    Index("ix_users_sid", "sid", unique=True),
)

# The authenticator app of a user; it counts from its first right code on. A step is used once: none up to `last_step`.
totp = Table(
    "totp",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("secret_sealed", LargeBinary, nullable=False),
    Column("added_at", UTCTime, nullable=False),
    Column("confirmed_at", UTCTime),
    Column("last_step", BigInteger),
)

# What an administrator switched on that is off otherwise.
switches = Table(
    "switches",
    metadata,
    Column("name", Text, primary_key=True),
    Column("switched_on_at", UTCTime, nullable=False),
    Column("switched_on_by", Text, nullable=False),
)

groups = Table(
    "groups",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("created_at", UTCTime, nullable=False),
)

group_members = Table(
    "group_members",
    metadata,
    Column("group_id", ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True),
    Column("member_kind", Text, primary_key=True),
    Column("member_id", Text, primary_key=True),
    Index("ix_group_members_member_id", "member_id"),
)

devices = Table(
    "devices",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", UTCTime, nullable=False),
)

device_users = Table(
    "device_users",
    metadata,
    Column("device_id", ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_device_users_user_id", "user_id"),
)

authorities = Table(
    "authorities",
    metadata,
    Column("name", Text, primary_key=True),
    Column("certificate_der", LargeBinary, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    Column("revocations", BigInteger, nullable=False),
)

# Beside its row in `authorities`: who signs short-lived certificates. One that is wanted has no certificate yet.
# `trusted_until` is set when it retires: the end of the last certificate it signed.
access_authorities = Table(
    "access_authorities",
    metadata,
    Column("name", Text, primary_key=True),
    Column("generation", Integer, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("common_name", Text, nullable=False),
    Column("not_after", UTCTime, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("activated_at", UTCTime),
    Column("retired_at", UTCTime),
    Column("trusted_until", UTCTime),
    Column("trust_ended_at", UTCTime),
    Column("distrusted", Boolean, nullable=False),
    Index("ix_access_authorities_state", "state", unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE),
)

revocation_lists = Table(
    "revocation_lists",
    metadata,
    Column("authority", ForeignKey("authorities.name"), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("revocations", BigInteger, nullable=False),
    Column("this_update", UTCTime, nullable=False),
    Column("next_update", UTCTime, nullable=False),
    Column("der", LargeBinary, nullable=False),
)

certificates = Table(
    "certificates",
    metadata,
    _id(),
    Column("authority", ForeignKey("authorities.name"), nullable=False),
    Column("serial", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("subject_name", Text, nullable=False),
    Column("dns_names", JSON, nullable=False),
    Column("public_key_der", LargeBinary, nullable=False),
    Column("not_before", UTCTime, nullable=False),
    Column("not_after", UTCTime, nullable=False),
    Column("user_id", ForeignKey("users.id")),
    Column("device_id", ForeignKey("devices.id")),
    Column("gateway_id", ForeignKey("gateways.id")),
    Column("attempt_id", Text),
    Column("granted_by", Text, nullable=False),
    Column("granted_at", UTCTime, nullable=False),
    Column("certificate_der", LargeBinary),
    Column("fingerprint", LargeBinary, unique=True),  # SHA-256 of the DER
    Column("revoked_at", UTCTime),
    Column("revocation_reason", Text),
    # How whoever asked for it signed in, names with spaces between them, and when.
    Column("methods", Text, nullable=False, server_default=""),
    Column("signed_in_at", UTCTime),
    Column("sid", Text),
    UniqueConstraint("authority", "serial"),
    Index("ix_certificates_user_id", "user_id"),
    Index("ix_certificates_device_id", "device_id"),
    Index("ix_certificates_kind_granted_at", "kind", "granted_at"),
)

gateways = Table(
    "gateways",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("public_name", Text, nullable=False),
    Column("radius_address", Text, nullable=False, unique=True),
    Column("radius_secret_sealed", LargeBinary, nullable=False),
    Column("gate_path_sealed", LargeBinary, nullable=False),
    Column("vici_socket", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    # What its process saw last; `state_since` is when that began.
    Column("state", Text, nullable=False, server_default="unknown"),
    Column("state_since", UTCTime),
    Column("state_error", Text, nullable=False, server_default=""),
    # On another host, looked after by an agent that dials `server_address`; `seen_at` is when one was connected last.
    Column("remote", Boolean, nullable=False, server_default=false()),
    Column("server_address", Text, nullable=False, server_default=""),
    Column("seen_at", UTCTime),
    # Of another make, or a proxy: it only asks.
    Column("foreign", Boolean, nullable=False, server_default=false()),
    # The RADIUS secret before, which counts until the rotation is finished, and when each was used last meanwhile.
    Column("previous_secret_sealed", LargeBinary),
    Column("secret_rotated_at", UTCTime),
    Column("secret_used_at", UTCTime),
    Column("previous_secret_used_at", UTCTime),
    Column("secret_weakness", Text, nullable=False, server_default=""),
    # Where it takes Disconnect- and CoA-Requests, address:port; without a secret of its own under that of RADIUS.
    Column("disconnect_address", Text, nullable=False, server_default=""),
    Column("disconnect_secret_sealed", LargeBinary),
    # Whether it may ask over TLS; the certificate is one we did not sign and which alone may then ask for it.
    Column("radsec", Boolean, nullable=False, server_default=false()),
    Column("radsec_certificate_der", LargeBinary),
)

# By gateway id and not by a reference: of a gateway that was removed it can still be said so.
enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    _id(),
    Column("gateway_id", Text, nullable=False),
    Column("gateway_name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False, unique=True),  # SHA-256
    Column("created_at", UTCTime, nullable=False),
    Column("expires_at", UTCTime, nullable=False),
    Column("used_at", UTCTime),
)

profiles = Table(
    "profiles",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("version", Integer, nullable=False),  # the newest
    Column("gateway_id", ForeignKey("gateways.id")),  # which it was made for
)
profile_versions = Table(
    "profile_versions",
    metadata,
    _id(),
    Column("profile_id", ForeignKey("profiles.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("document", JSON, nullable=False),
    Column("saved_at", UTCTime, nullable=False),
    Column("saved_by", Text, nullable=False),
    UniqueConstraint("profile_id", "version"),
)
network_policies = Table(
    "network_policies",
    metadata,
    _id(),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False, unique=True),
    Column("document", JSON, nullable=False),
)

# `resolved` is what its texts mean here: users and groups by id, applications by name, and of locations and strengths
# the ids, under `location:` and `strength:` before the text.
access_policies = Table(
    "access_policies",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("document", JSON, nullable=False),
    Column("resolved", JSON, nullable=False),
    Column("imported_at", UTCTime, nullable=False),
)


def _build_documents(name: str, *columns: Column[Any]) -> Table:
    return Table(
        name,
        metadata,
        _id(),
        Column("name", Text, nullable=False),
        Column("name_key", Text, nullable=False, unique=True),
        Column("document", JSON, nullable=False),
        *columns,
        Column("changed_at", UTCTime, nullable=False),
    )


# What policies name, as Graph writes it. The id is Graph's where the document has one.
named_locations = _build_documents("named_locations")
authentication_strengths = _build_documents("authentication_strengths")
# `resolved` are the ids of those a test names: of its user, device and gateway.
policy_tests = _build_documents("policy_tests", Column("resolved", JSON, nullable=False))

facts = Table(
    "facts",
    metadata,
    Column("subject_kind", Text, primary_key=True),
    Column("subject_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("observed_at", UTCTime, nullable=False),
    Column("expires_at", UTCTime, index=True),
    Column("detail", Text, nullable=False, server_default=""),
)

# At most one a platform. Which devices are compliant is kept as facts.
compliance_policies = Table(
    "compliance_policies",
    metadata,
    Column("platform", Text, primary_key=True),
    Column("document", JSON, nullable=False),
    Column("changed_at", UTCTime, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    _id(),
    Column("at", UTCTime, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("gateway_id", Text),
    Column("user_id", Text, index=True),
    Column("device_id", Text, index=True),
    Column("certificate_id", Text),
    Column("session_id", Text),
    Column("claimed_identity", Text, nullable=False),
    Column("client_address", Text, nullable=False),
    Column("duration_microseconds", BigInteger, nullable=False),
    Column("story", Text, nullable=False),
    Column("batch", BigInteger, nullable=False, index=True),
)

sessions = Table(
    "sessions",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("gateway_id", Text, nullable=False),
    Column("unique_id", BigInteger, nullable=False),
    # Both security parameter indexes of the IKE_SA: random, so never the same twice, which numbers are after a restart.
    Column("spis", Text, nullable=False),
    Column("user_id", Text),
    Column("device_id", Text),
    Column("certificate_id", Text),
    Column("attempt_id", Text),
    Column("remote_address", Text, nullable=False),
    Column("virtual_addresses", Text, nullable=False),
    Column("created_at", UTCTime, nullable=False),
    Column("up_at", UTCTime),
    Column("seen_at", UTCTime),
    Column("ended_at", UTCTime),
    Column("end_reason", Text, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("ends_at", UTCTime),  # earlier than strongSwan itself would end it
    Column("method", Text),  # of a user tunnel; null is EAP-TLS
    Column("crypto_bound", Boolean),  # of one within PEAP
    Index("ix_sessions_gateway_id_state", "gateway_id", "state"),
    Index("ix_sessions_user_id_state", "user_id", "state"),
    Index("ix_sessions_device_id_state", "device_id", "state"),
    Index("ix_sessions_gateway_id_unique_id", "gateway_id", "unique_id"),
    Index("ix_sessions_created_at", "created_at"),
    Index("ix_sessions_live", "created_at", sqlite_where=_LIVES, postgresql_where=_LIVES),
)

own_tunnel_changes = Table(
    "own_tunnel_changes",
    metadata,
    Column("device_id", Text, primary_key=True),
    Column("changed_at", UTCTime, nullable=False),
)

denials = Table(
    "denials",
    metadata,
    _id(),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("denied_by", Text, nullable=False),
    Column("denied_at", UTCTime, nullable=False),
    Column("until", UTCTime),
    Column("lifted_at", UTCTime),
    Column("lifted_by", Text),
    Index("ix_denials_subject_id", "subject_id"),
)

effects = Table(
    "effects",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    Column("gateway_id", Text, nullable=False),
    Column("subject_kind", Text, nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("denial_id", Text),
    Column("created_at", UTCTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("confirmed_at", UTCTime),
    Column("acknowledged_at", UTCTime),  # the gateway said yes (RFC 5176), which is not yet seen to be so
    Index("ix_effects_gateway_id_state", "gateway_id", "state"),
    Index("ix_effects_denial_id", "denial_id"),
)

# What gateways count (RFC 2866): one row an Acct-Session-Id. Without `session_id` it is of no session of ours.
accounting = Table(
    "accounting",
    metadata,
    _id(),
    Column("gateway_id", Text, nullable=False),
    Column("acct_session_id", Text, nullable=False),
    Column("session_id", Text),
    Column("user_name", Text, nullable=False),
    Column("remote_address", Text, nullable=False),
    Column("virtual_addresses", Text, nullable=False),
    Column("unique_id", BigInteger),
    Column("began_at", UTCTime, nullable=False),
    Column("updated_at", UTCTime, nullable=False),
    Column("ended_at", UTCTime),
    Column("end_cause", Text, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Index("ix_accounting_gateway_id_acct_session_id", "gateway_id", "acct_session_id"),
    Index("ix_accounting_gateway_id_unique_id", "gateway_id", "unique_id"),
    Index("ix_accounting_session_id", "session_id"),
    Index("ix_accounting_ended_at_updated_at", "ended_at", "updated_at"),
)

# Accounting-On and -Off, each remembered: said again later it is a replay and ends nothing.
gateway_restarts = Table(
    "gateway_restarts",
    metadata,
    Column("gateway_id", Text, primary_key=True),
    Column("authenticator", LargeBinary, primary_key=True),
    Column("at", UTCTime, nullable=False),
    Column("reason", Text, nullable=False),
)
