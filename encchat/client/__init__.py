"""The client: connection, stored state, and the consoles that people and programs use.

Where to look first: ``session`` (the protocol, pure), then ``chat`` (session, store and link joined), then a
console: ``pipe``, ``terminal`` or ``linear``. What a person decides about servers is in ``trust``.
"""
