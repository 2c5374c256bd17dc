"""What the rsa layer does once it knows which profile the peer speaks: it hands everything to a talk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping


class Talk(ABC):
    """One connection in one profile. ``received``, ``write`` and ``finish`` run under the layer's guard:
    an EncchatError that they raise fails the connection."""

    #: Jobs of this talk run in a thread, or wait for one.
    busy = False

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes from the peer."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Bytes for the peer; not before ``established``."""

    @abstractmethod
    def finish(self) -> bool:
        """We close properly: say so. True if the peer will close in turn."""

    @abstractmethod
    def ended(self) -> None:
        """The connection is gone: let go of timers, and ignore what threads still bring."""

    @abstractmethod
    def reading(self, going_on: bool) -> None:
        """The protocol above paused reading, or goes on with it."""

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, object]:
        """What is known, as fields of a log line: ``profile``, ``protocol``, ``own_fingerprint``,
        ``peer_fingerprint``, ``th3`` and ``stage``. Nothing secret."""
