"""Sealed rooms in the client: a vault (``core.sealed``) beside the session of one server.

``holding`` holds the vault, ``answering`` and ``bridge`` feed it with what the server says, ``relay`` asks
the server what it wants asked, ``telling`` turns what it shows into the events that every console knows,
``kept`` is what stays of what was opened; ``people`` and ``rooms`` are what consoles and commands call.
"""
