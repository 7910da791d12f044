"""Named locations and authentication strengths."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for name in ("named_locations", "authentication_strengths"):
        op.create_table(
            name,
            sa.Column("id", sa.Text(), nullable=False),
            sa.Column("name", sa.Text(), nullable=False),
            sa.Column("name_key", sa.Text(), nullable=False),
            sa.Column("document", sa.JSON(), nullable=False),
            sa.Column("changed_at", sa.BigInteger(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
            sa.UniqueConstraint("name_key", name=op.f(f"uq_{name}_name_key")),
        )


def downgrade() -> None:
    op.drop_table("authentication_strengths")
    op.drop_table("named_locations")
