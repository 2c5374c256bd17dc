"""What one peer may ask for: how many messages, requests, acts, keys and bytes of files, and how fast."""

from __future__ import annotations

from encchat.core.chat.limits import TokenBucket
from encchat.core.interfaces import ITurn
from encchat.core.refusals import RateLimited
from encchat.messages import Limits

#: Requests other than Send: a second, and at once.
REQUEST_RATE, REQUEST_BURST = 20, 100
#: Acts of moderation, and codes for devices: a second, and at once.
ACT_RATE, ACT_BURST = 2, 20
#: Bytes of a page that cost as much of that rate as another request.
REQUEST_BYTES = 16 * 1024
#: Bytes of files, in the same units: a second, and at once. These are 8 MiB a second.
FILE_RATE, FILE_BURST = 512, 1024
#: Requests about keys and mail of devices: a second, and at once. A room of two hundred is set up with these.
KEY_RATE, KEY_BURST = 30, 600


class Allowances:
    """The rates of a session; where the server limits no sends, nothing is limited."""

    def __init__(self, limits: Limits, turn: ITurn) -> None:
        self._turn = turn
        now = turn.now()
        self._sends = TokenBucket(limits.rate, limits.burst, now)
        self._requests = TokenBucket(REQUEST_RATE if limits.rate else 0, REQUEST_BURST, now)
        self._file_bytes = TokenBucket(FILE_RATE if limits.rate else 0, FILE_BURST, now)
        self._acts = TokenBucket(ACT_RATE if limits.rate else 0, ACT_BURST, now)
        self._keys = TokenBucket(KEY_RATE if limits.rate else 0, KEY_BURST, now)

    def take_request(self) -> None:
        """Spend one request of the peer's rate.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._requests)

    def take_send(self) -> None:
        """Spend one send of the peer's rate.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._sends)

    def take_act(self) -> None:
        """Spend one act of the peer's rate.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._acts)

    def take_file_bytes(self, size: int) -> None:
        """Spend ``size`` bytes of files of the peer's rate; a few also for none.

        :raises RateLimited: there are none left just now.
        """
        self._take(self._file_bytes)
        self.charge_file_bytes(size)

    def charge_file_bytes(self, size: int) -> None:
        """Count ``size`` bytes of files that came or went; the request itself has cost as much as the first
        of them."""
        self._file_bytes.spend(max(0, size / REQUEST_BYTES - 1))

    def take_keys(self, requests: float) -> None:
        """Spend as much of the peer's rate for keys and mail as so many requests cost.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._keys)
        self._keys.spend(requests - 1)

    def charge_keys(self, size: int) -> None:
        """Count ``size`` bytes of keys or mail as more than one request."""
        self._keys.spend(size / REQUEST_BYTES)

    def charge(self, size: int) -> None:
        """Count an answer of ``size`` bytes as more than one request, as protecting it costs time: the next
        ones wait for it."""
        self._requests.spend(size / REQUEST_BYTES)

    def seconds_to_send(self) -> float:
        """How long until the peer's rate allows another send; 0 for now."""
        return self._sends.wait(self._turn.now())

    def _take(self, bucket: TokenBucket) -> None:
        wait = bucket.take(self._turn.now())
        if wait:
            raise RateLimited(wait=max(1, int(wait * 1000 + 0.999)))
