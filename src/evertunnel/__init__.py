"""Evertunnel: a self-hosted Always On VPN around strongSwan."""

__version__ = "0.1.0"
