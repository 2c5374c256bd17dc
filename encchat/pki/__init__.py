"""Certificates: what they say, how they are made, and whether they can be used. No sockets here.

``names`` (the user in a certificate) and ``profiles`` (what a certificate is for) are the rules that the
``tls`` cipher and ``encchat-admin`` share; ``files`` reads and writes PEM; ``health`` says what is wrong or
soon will be; ``hosts`` are the names of servers. ``build`` makes certificates, ``store`` is the directory
with its index, and ``authority`` is the certificate authority on top of the two.

The time is always an argument, and aware: UTC.
"""
