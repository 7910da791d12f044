"""Logins with MS-CHAPv2: the switch, NT hashes of local users, and how a session logged in."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_table(
        "switches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("switched_on_at", sa.BigInteger(), nullable=False),
        sa.Column("switched_on_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switches")),
    )
    op.add_column("users", sa.Column("nt_hash_sealed", sa.LargeBinary(), nullable=True))
    op.add_column("users", sa.Column("password_expired", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("sessions", sa.Column("method", sa.Text(), nullable=True))
    op.add_column("sessions", sa.Column("crypto_bound", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("sessions", "crypto_bound")
    op.drop_column("sessions", "method")
    op.drop_column("users", "password_expired")
    op.drop_column("users", "nt_hash_sealed")
    op.drop_table("switches")
