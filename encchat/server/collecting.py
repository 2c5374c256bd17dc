"""How often Python's collector of cycles looks around in a server.

Its defaults suit small programs: beside a busy fan-out, whose objects live for milliseconds and refer to
nothing, it looks through everything again and again and finds nothing (a tenth of the CPU when saturated).
What a connection leaves in cycles is still found, after a few thousand connections at the latest.
"""

from __future__ import annotations

import gc

#: New objects until the young are looked at, and of those looks how many until the older ones are.
THRESHOLDS = (10_000, 5, 5)


def settle() -> None:
    """The program is complete: what there is by now stays for good, and need not be looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
