"""The two commands, ``encchat-client`` and ``encchat-admin``."""
