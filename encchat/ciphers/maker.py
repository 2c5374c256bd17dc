"""A cipher's entry in ``twisted/plugins``: names only, so that finding every cipher imports none."""

from __future__ import annotations

from dataclasses import dataclass

from zope.interface import implementer

from encchat.ciphers.interfaces import ICipherMaker


@implementer(ICipherMaker)
@dataclass(frozen=True)
class CipherMaker:
    """Put one into a module of your own ``twisted/plugins``::

    psk = CipherMaker("psk", "a key that both sides have", "my_package.psk")
    """

    #: The word on the command line: ``a-z``, ``0-9`` and ``-``.
    name: str
    #: One line for ``--help-ciphers``.
    summary: str
    #: The dotted name of the module that holds the cipher; imported when somebody uses it.
    module: str
