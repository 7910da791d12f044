"""Alembic migrations: append only, never edited once released."""
