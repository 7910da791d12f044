"""Indexes for what is asked of sessions and accounting among years of them."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_index("ix_sessions_created_at", "sessions", ["created_at"])
    live = sa.text("state != 'ended'")
    op.create_index("ix_sessions_live", "sessions", ["created_at"], sqlite_where=live, postgresql_where=live)
    op.create_index("ix_sessions_gateway_id_unique_id", "sessions", ["gateway_id", "unique_id"])
    op.create_index("ix_accounting_gateway_id_unique_id", "accounting", ["gateway_id", "unique_id"])


def downgrade() -> None:
    op.drop_index("ix_accounting_gateway_id_unique_id", table_name="accounting")
    op.drop_index("ix_sessions_gateway_id_unique_id", table_name="sessions")
    op.drop_index("ix_sessions_live", table_name="sessions")
    op.drop_index("ix_sessions_created_at", table_name="sessions")
