"""Self-tests of policies, and the history of policies found without reading the whole audit."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "policy_tests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("resolved", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_tests")),
        sa.UniqueConstraint("name_key", name=op.f("uq_policy_tests_name_key")),
    )
    op.create_index(op.f("ix_audit_name"), "audit", ["name"])


def downgrade() -> None:
    op.drop_index(op.f("ix_audit_name"), table_name="audit")
    op.drop_table("policy_tests")
