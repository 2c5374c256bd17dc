"""The contract of ciphers, for the tests of any cipher, here or in another package.

Derive a trial ``TestCase`` from :class:`CipherContract` too, and say how your cipher is made; see
docs/ciphers.md. It runs in memory and needs ``hypothesis``. :class:`ContractReactor` is the reactor that
ciphers are started with there: a clock that tests advance, and threads that run when a test says so.
"""

from encchat.ciphers.testing.endings import EndContract
from encchat.ciphers.testing.handshakes import HandshakeContract
from encchat.ciphers.testing.harness import Recorder
from encchat.ciphers.testing.link import Link
from encchat.ciphers.testing.reactor import ContractReactor
from encchat.ciphers.testing.streams import StreamContract

__all__ = ["CipherContract", "ContractReactor", "Link", "Recorder"]


class CipherContract(HandshakeContract, StreamContract, EndContract):
    """Everything that a protocol above relies on, as tests; override ``make_ciphers``."""
