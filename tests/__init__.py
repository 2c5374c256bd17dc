"""The tests, laid out as encchat/ is; ``make test`` runs them with trial.

A busy machine is no failure: whatever has a deadline here has one that only what hangs will reach. Nor are
other habits: time zone and umask are set here, and tests/process/harness.py says what else processes get of
the environment. Hypothesis has no deadline, and draws the same examples on every run, so that a test which
fails blames the last change.
ENCCHAT_SOAK=1 (``make soak``) draws others, and makes the long tests long.
"""

from __future__ import annotations

import os
import time

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from twisted.trial import util

SOAK = os.environ.get("ENCCHAT_SOAK") == "1"

os.environ["TZ"] = "UTC"
time.tzset()
os.umask(0o022)
#: Seconds that a test may take, unless it says so itself.
util.DEFAULT_TIMEOUT_DURATION = 900.0

settings.register_profile(
    "encchat",
    deadline=None,
    max_examples=2000 if SOAK else 60,
    derandomize=not SOAK,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("encchat")
if not SOAK:
    # Numbers and texts that stand in our modules are drawn, too; but which ones depends on what is imported
    # by then, so on which tests ran before, and reading all of them takes half a second of each process.
    providers._get_local_constants = providers.Constants
