"""The chat itself: identity, admission, rooms, sessions. Pure: no sockets, no clock, no randomness.

Time, randomness, storage and the way to run something later are handed in; see ``interfaces``.
"""
