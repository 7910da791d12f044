"""Settings for every test."""

import os

from hypothesis import settings

# A busy machine is no reason to fail; HYPOTHESIS_PROFILE=deep looks longer.
settings.register_profile("default", deadline=None)
settings.register_profile("deep", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
