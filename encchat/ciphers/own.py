"""The ciphers that encchat brings along. They are plugins like any other, but known without a look at what
else is installed, which takes longer than to import one of them."""

from __future__ import annotations

from encchat.ciphers.maker import CipherMaker

rsa = CipherMaker(
    "rsa",
    "every byte is RSA-encrypted, under a mutual handshake; also speaks to the classroom script",
    "encchat.ciphers.rsa",
)

tls = CipherMaker(
    "tls",
    "TLS 1.3, both sides show certificates",
    "encchat.ciphers.tls",
)

#: By name. A plugin of somebody else that takes one of these names is not used.
OWN = {maker.name: maker for maker in (rsa, tls)}
