"""The linter: every rule is a function from a profile to findings; files are by what the rules are about."""
