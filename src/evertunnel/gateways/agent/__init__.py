"""The agent: what runs beside strongSwan on a gateway's own host. It dials out, and listens on loopback only."""
