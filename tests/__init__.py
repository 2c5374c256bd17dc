"""The tests, laid out as encchat/ is; ``make test`` runs them with trial.

Hypothesis has no deadline here, as a busy machine is no failure, and draws the same examples on every run,
so that a test which fails blames the last change. ENCCHAT_SOAK=1 (``make soak``) draws others, and makes the
long tests long.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SOAK = os.environ.get("ENCCHAT_SOAK") == "1"

settings.register_profile(
    "encchat",
    deadline=None,
    max_examples=2000 if SOAK else 60,
    derandomize=not SOAK,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("encchat")
