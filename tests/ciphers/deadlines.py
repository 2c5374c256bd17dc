"""For tests with real sockets, and so real time: a machine that is busy is no peer that is slow."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from encchat.ciphers import ending, layer
from encchat.ciphers.rsa import layer as rsa_layer

#: Seconds that no test waits; one that is about a deadline lets it pass by itself.
NEVER = 100_000.0


def patient(case: TestCase) -> None:
    """Give peers as much time as they need, for as long as the test runs."""
    case.patch(layer, "HANDSHAKE_DEADLINE", NEVER)
    for module in (ending, rsa_layer):
        case.patch(module, "CLOSE_DEADLINE", NEVER)
