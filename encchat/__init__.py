"""encchat: a private chat that a person can run on their own machine.

Where to look first: ``messages`` (the protocol), then ``core.hub`` (the rooms), then ``ciphers``.
"""

__version__ = "0.1.0"

#: The TCP port of a service that is told no other.
DEFAULT_PORT = 9999
