"""Gateways that only ask over RADIUS, over TLS or UDP; two secrets at once; Disconnect- and CoA-Requests."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0011"


def _build_columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("foreign", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("previous_secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("secret_rotated_at", sa.BigInteger(), nullable=True),
        sa.Column("secret_used_at", sa.BigInteger(), nullable=True),
        sa.Column("previous_secret_used_at", sa.BigInteger(), nullable=True),
        sa.Column("secret_weakness", sa.Text(), server_default="", nullable=False),
        sa.Column("disconnect_address", sa.Text(), server_default="", nullable=False),
        sa.Column("disconnect_secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("radsec", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("radsec_certificate_der", sa.LargeBinary(), nullable=True),
    )


def upgrade() -> None:
    for column in _build_columns():
        op.add_column("gateways", column)
    op.add_column("effects", sa.Column("acknowledged_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("effects", "acknowledged_at")
    for column in reversed(
        _build_columns()
    ):  # one by one: in a batch the table would be made anew, and others refer to it
        op.drop_column("gateways", column.name)
