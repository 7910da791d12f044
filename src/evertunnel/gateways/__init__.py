"""Gateways: strongSwan over VICI, the effects that must happen there, and what it reports."""
