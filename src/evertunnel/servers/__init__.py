"""Sockets, and the glue between protocols and actions. The only place where packets meet decisions."""
