"""RADIUS (RFC 2865, 2866, 3579): packets, accounting, hidden values, repeated requests."""
