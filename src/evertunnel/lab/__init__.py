"""A private network on this machine: internet, gateway, laptop, corporate host. Only cli/lab imports it."""
