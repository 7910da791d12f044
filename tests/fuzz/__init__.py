"""Coverage-guided fuzzing (`make fuzz`): hostile bytes for everything that reads bytes, and what must hold for any.

A target is a module of `targets` with a function `build`; adding the file is all it takes.
"""
