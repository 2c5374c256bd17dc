"""The contract of ciphers, for the tests of any cipher, here or in another package.

Derive a trial ``TestCase`` from ``CipherContract`` and say how your cipher is made; see docs/ciphers.md.
``ContractReactor`` is the reactor that ciphers are started with there: a clock that tests advance, and
threads that run when a test says so.
"""

from encchat.ciphers.testing.reactor import ContractReactor

__all__ = ["ContractReactor"]
