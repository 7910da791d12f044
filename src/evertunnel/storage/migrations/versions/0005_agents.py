"""Gateways on other hosts, and sessions that end before strongSwan would end them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("gateways", sa.Column("remote", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("gateways", sa.Column("server_address", sa.Text(), server_default="", nullable=False))
    op.add_column("gateways", sa.Column("seen_at", sa.BigInteger(), nullable=True))
    op.add_column("sessions", sa.Column("ends_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "enrolment_codes",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("gateway_id", sa.Text(), nullable=False),
        sa.Column("gateway_name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_codes")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_enrolment_codes_secret_hash")),
    )


def downgrade() -> None:
    op.drop_table("enrolment_codes")
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_column("ends_at")
    with op.batch_alter_table("gateways", schema=None) as batch_op:
        batch_op.drop_column("seen_at")
        batch_op.drop_column("server_address")
        batch_op.drop_column("remote")
