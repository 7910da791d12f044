"""Compliance policies, and facts that say why and are found when they run out."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("facts", sa.Column("detail", sa.Text(), server_default="", nullable=False))
    op.create_index(op.f("ix_facts_expires_at"), "facts", ["expires_at"])
    op.create_table(
        "compliance_policies",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("platform", name=op.f("pk_compliance_policies")),
    )


def downgrade() -> None:
    op.drop_table("compliance_policies")
    op.drop_index(op.f("ix_facts_expires_at"), table_name="facts")
    with op.batch_alter_table("facts", schema=None) as batch_op:
        batch_op.drop_column("detail")
