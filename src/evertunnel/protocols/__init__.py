"""Bytes to objects and state machines. Pure: no sockets, clock, files, logging, and nothing of ours outside."""
