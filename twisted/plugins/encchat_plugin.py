"""What encchat adds to Twisted: ``twistd encchat``, and its two ciphers. Names only: twistd reads this
file at every start, whatever it is to run."""

from twisted.application.service import ServiceMaker

from encchat.ciphers.own import rsa as rsa
from encchat.ciphers.own import tls as tls

service = ServiceMaker(
    "encchat",
    "encchat.tap",
    "A private chat whose security you can see.",
    "encchat",
)
