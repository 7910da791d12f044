"""What all tests share."""

import os

from hypothesis import settings

# `fast` finds the same on every run and on a slow machine; HYPOTHESIS_PROFILE=deep looks for what nobody has seen yet.
settings.register_profile("fast", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=2_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
