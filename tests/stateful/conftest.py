"""How long the stateful tests look: HYPOTHESIS_PROFILE is default, ci or nightly."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = {
    "deadline": None,  # shared machines are slow at times; virtual time does not care
    "database": None,  # a failure is printed whole, and becomes a named test
    "derandomize": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}

settings.register_profile("default", max_examples=200, stateful_step_count=30, **_COMMON)  # type: ignore[arg-type]  # a mixed dictionary
settings.register_profile("ci", max_examples=800, stateful_step_count=40, **_COMMON)  # type: ignore[arg-type]  # as above
settings.register_profile("nightly", max_examples=3000, stateful_step_count=60, **{**_COMMON, "derandomize": False})  # type: ignore[arg-type]  # as above
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
