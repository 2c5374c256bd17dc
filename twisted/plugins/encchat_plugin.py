"""What encchat adds to Twisted: ``twistd encchat``, and its two ciphers. Names only: twistd reads this
file at every start, whatever it is to run."""

from twisted.application.service import ServiceMaker

from encchat.ciphers.maker import CipherMaker

service = ServiceMaker(
    "encchat",
    "encchat.tap",
    "A private chat whose security you can see.",
    "encchat",
)

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
