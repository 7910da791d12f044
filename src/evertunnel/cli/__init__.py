"""The command line: a noun a file, a client of the admin API. Heavy imports happen inside the commands."""
