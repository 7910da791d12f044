"""Tables and SQL, by noun. Imports nothing of ours but the nouns."""
