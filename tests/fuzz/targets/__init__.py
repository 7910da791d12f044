"""One module a target: each has `build() -> Target`."""
