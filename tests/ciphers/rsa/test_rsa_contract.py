"""The rsa cipher keeps what every cipher promises; between our own peers that is hrsa1."""

from itertools import cycle
from pathlib import Path
from typing import ClassVar, cast

from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers import rsa
from encchat.ciphers.interfaces import IClientCipher, IServerCipher, Place
from encchat.ciphers.rsa.keys import make_record_key
from encchat.ciphers.testing import CipherContract

#: Keys that are made once: making them for every test takes longer than the tests.
KEYS = cycle([make_record_key() for _ in range(6)])


def place(directory: Path, **arguments: str) -> Place:
    """A place below ``directory``, as the registry would make it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    return Place(directory, arguments=arguments)


class RsaContract(CipherContract, SynchronousTestCase):
    """With the defaults of both sides."""

    # Every 190 bytes cost a millisecond to open: sizes beyond a few full records prove nothing more.
    sizes: ClassVar[tuple[int, ...]] = (0, 1, 65536)
    examples: ClassVar[int] = 4

    def make_ciphers(self, directory: Path) -> tuple[IServerCipher, IClientCipher]:
        server = rsa.RsaServer(place(directory / "server"), rsa.Classic.YES, make=lambda: next(KEYS))
        client = rsa.RsaClient(place(directory / "client"), rsa.Classic.NO, make=lambda: next(KEYS))
        server.prepare()
        client.prepare()
        return cast(IServerCipher, server), cast(IClientCipher, client)
