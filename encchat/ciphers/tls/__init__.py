"""The ``tls`` cipher: TLS 1.3 in which both sides show certificates (RFC 8446).

With an authority (``trust=ca``) a user is who his certificate says and a server is checked by its host's
name; without one (``trust=pin``) both sides are known by their keys, as in ssh. Read on in ``cipher``
(files and connections), ``layer`` and ``sides`` (one connection), ``judge`` (certificates) and ``words``
(errors).
"""

from __future__ import annotations

from encchat.ciphers.interfaces import Argument, IClientCipher, IServerCipher, Place
from encchat.ciphers.tls.cipher import TlsClient, TlsServer

ARGUMENTS = (
    Argument("trust", "who says who is who: an authority, or nobody but pinned keys", "ca", ("ca", "pin")),
    Argument(
        "certs", "directory with ca.pem, perhaps crl.pem, and server.pem, server.key (or NAME.pem, NAME.key)"
    ),
    Argument("cert", "our certificate and its chain, if it is elsewhere"),
    Argument("key", "its private key, mode 600"),
    Argument(
        "ca", "the authorities that sign the other side; for a client also: system, those of this machine"
    ),
    Argument("crl", "their revocation lists; everybody is refused when one of them expires"),
)


def server(place: Place) -> IServerCipher:
    """The cipher of a service.

    :raises ConfigError: the arguments contradict each other, or too few are given.
    """
    return TlsServer(place)


def client(place: Place) -> IClientCipher:
    """The cipher of a client's profile, for the user ``place.name``.

    :raises ConfigError: the arguments contradict each other, or too few are given.
    """
    return TlsClient(place)
