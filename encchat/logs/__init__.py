"""Implementations of the core's ``IRoomLog`` and ``IDirectory``."""
