"""The client's side: proves the device, signs in, brings the tunnel up. Imports nothing of the server."""
