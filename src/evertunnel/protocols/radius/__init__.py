"""RADIUS (RFC 2865, 3579): packets, hidden values, repeated requests."""
