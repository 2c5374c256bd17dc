"""Sealed rooms in the client: a vault (``core.sealed``) beside the session of one server.

``bridge`` runs the vault, ``relay`` asks the server what it wants asked, ``telling`` turns what it shows into
the events that every console knows, ``kept`` is what stays of what was opened, ``rooms`` is what consoles and
commands call.
"""
