"""From the values of ``--wire`` to a wiretap: ``-`` is the screen, anything else a new file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from encchat.wiretap.files import SCREEN, WireFile, check_names, is_pcap
from encchat.wiretap.jsonfile import JsonFile
from encchat.wiretap.pcap import PcapFile
from encchat.wiretap.screen import Screen
from encchat.wiretap.seen import Witness
from encchat.wiretap.taps import Wiretap


def open_wiretap(
    names: Sequence[str], screen: Screen, tell: Callable[[str], object], milliseconds: Callable[[], int]
) -> Wiretap:
    """A wiretap for each of ``names``, at least one. ``tell`` is told, now, what a person should know of the
    files, and later what goes wrong with them.

    :raises BadWireName: one of them is neither the screen nor a file of a known kind.
    :raises ConfigError: a file cannot be made, or is there already.
    """
    check_names(names)
    witnesses: list[Witness] = []
    for name in dict.fromkeys(names):
        if name == SCREEN:
            witnesses.append(screen)
        elif is_pcap(name):
            witnesses.append(PcapFile(WireFile(name, tell)))
        else:
            witnesses.append(JsonFile(WireFile(name, tell)))
            tell(f"{name} will contain everything that is said here, in plain text")
    return Wiretap(witnesses, milliseconds)
