"""One profile, every client: the model of a tunnel, a file per client format, and one linter. Pure."""
