"""Sealed rooms: end-to-end encryption, so that the server orders, stores and relays what it cannot read.

Pure as all of the core: bytes and times come in; what to store, to send and to show comes out. ``formats``
is what is signed, ``vault`` is the way in; docs/sealed-rooms.md says who is protected against whom.
"""
