"""Several access authorities at once, and the security identifiers of users."""

import sqlalchemy as sa
from alembic import op
from cryptography import x509
from cryptography.x509.oid import NameOID

revision = "0009"
down_revision = "0008"

_ACTIVE = sa.text("state = 'active'")
_MICROSECONDS = 1_000_000


def upgrade() -> None:
    table = op.create_table(
        "access_authorities",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("common_name", sa.Text(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("activated_at", sa.BigInteger(), nullable=True),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.Column("trusted_until", sa.BigInteger(), nullable=True),
        sa.Column("trust_ended_at", sa.BigInteger(), nullable=True),
        sa.Column("distrusted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_access_authorities")),
        sa.UniqueConstraint("generation", name=op.f("uq_access_authorities_generation")),
    )
    op.create_index(
        "ix_access_authorities_state",
        "access_authorities",
        ["state"],
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )
    op.add_column("users", sa.Column("sid", sa.Text(), nullable=True))
    op.create_index("ix_users_sid", "users", ["sid"], unique=True)
    op.add_column("certificates", sa.Column("sid", sa.Text(), nullable=True))
    # The one there was is the one that signs.
    found = (
        op.get_bind()
        .execute(sa.text("SELECT certificate_der, created_at FROM authorities WHERE name = 'access'"))
        .all()
    )
    for row in found:
        certificate = x509.load_der_x509_certificate(bytes(row.certificate_der))
        op.bulk_insert(
            table,
            [
                {
                    "name": "access",
                    "generation": 1,
                    "state": "active",
                    "common_name": certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value,
                    "not_after": round(certificate.not_valid_after_utc.timestamp()) * _MICROSECONDS,
                    "created_at": row.created_at,
                    "created_by": "",
                    "activated_at": row.created_at,
                    "distrusted": False,
                }
            ],
        )


def downgrade() -> None:
    op.drop_column("certificates", "sid")
    op.drop_index("ix_users_sid", "users")
    op.drop_column("users", "sid")  # in a batch it would be made anew, and what refers to it forbids that
    op.drop_index("ix_access_authorities_state", "access_authorities")
    op.drop_table("access_authorities")
