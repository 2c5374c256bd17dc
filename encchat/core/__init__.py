"""The chat itself: identity, admission, rooms, sessions. Pure: no sockets, no clock, no randomness.

Where to look first: ``chat`` (sessions, rooms, and a message's way between them), ``accounts`` (who comes in
under which name), ``moderation``, ``files``, ``relay`` (what the server does for sealed rooms) and ``sealed``
(what clients do in them, and the server cannot).

Time, randomness, storage and the way to run something later are handed in; see ``interfaces``.
"""
