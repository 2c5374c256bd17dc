"""What many names can do together: bounded by the address that they come from, and for whom they do it to.

A name costs nothing, so that a bound for each name bounds nobody who takes twenty of them. What is
remembered here is in memory, of the last ``MOST`` each, and forgotten with a restart. An address that is not
known (``""``) is not counted, as it may be everybody's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator

from encchat.core.chat.limits import TokenBucket
from encchat.errors import RefusedError

#: Addresses, and pairs of an address and a device, that are remembered.
MOST = 20_000
#: One-time keys of a device that one address is given, at once, and seconds until another; then it is given
#: the fallback key. Of a hundred, so that a class that sits behind one address finds enough.
ADDRESS_KEYS, ADDRESS_KEYS_EVERY = 40, 180.0
#: The same for all addresses together.
DEVICE_KEYS, DEVICE_KEYS_EVERY = 80, 60.0
#: Letters, and bytes of them, that strangers of one address put into one box: at once, and in a day.
ADDRESS_LETTERS, ADDRESS_MAIL = 200, 256 * 1024
#: New rooms that an address may make for each new name that it may claim.
ROOMS_PER_NAME = 5
#: Invitations by one person that another one is told of: at once, and seconds until the next; and of all.
INVITATIONS, INVITATIONS_EVERY = 10, 60.0
ALL_INVITATIONS, ALL_INVITATIONS_EVERY = 60, 20.0
#: Of the space for files, the part that is new from one address in a day: one in so many.
FILE_SHARE = 4
DAY = 86_400.0
#: What that part counts as.
_WHOLE = 1_000_000


class TooManyNames(RefusedError):
    """{limit} new names came from your address within a day, as many as this server takes. Come in under a
    name that you have, or try again in {wait}."""

    code = "too-many-names"


class TooManyNewRooms(RefusedError):
    """{limit} new rooms came from your address within a day, as many as this server takes. Use one that is
    there, or try again in {wait}."""

    code = "too-many-rooms"


class AddressFull(RefusedError):
    """Files from your address have taken within a day as much of this server's space as one address may. Try
    again later."""

    code = "quota-full"


class Buckets:
    """A token bucket for each key; the one that was used longest ago is forgotten first."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def at(self, key: Hashable, now: float) -> TokenBucket:
        """The bucket of a key."""
        bucket = self._buckets.pop(key, None) or TokenBucket(self.rate, self.burst, now)
        self._buckets[key] = bucket
        if len(self._buckets) > MOST:
            self._buckets.popitem(last=False)
        return bucket


class Floods:
    """The bounds of one hub. ``names``: new names of one address in a day; 0: any number."""

    def __init__(self, names: int = 0) -> None:
        self._limit = names
        self._names = Buckets(names / DAY, names)
        self._rooms = Buckets(names * ROOMS_PER_NAME / DAY, names * ROOMS_PER_NAME)
        self._invitations = Buckets(1 / INVITATIONS_EVERY, INVITATIONS)
        self._all_invitations = Buckets(1 / ALL_INVITATIONS_EVERY, ALL_INVITATIONS)
        self._keys = Buckets(1 / ADDRESS_KEYS_EVERY, ADDRESS_KEYS)
        self._device_keys = Buckets(1 / DEVICE_KEYS_EVERY, DEVICE_KEYS)
        self._letters = Buckets(ADDRESS_LETTERS / DAY, ADDRESS_LETTERS)
        self._mail = Buckets(ADDRESS_MAIL / DAY, ADDRESS_MAIL)
        self._files = Buckets(_WHOLE / DAY, _WHOLE)

    def all(self) -> Iterator[Buckets]:
        """All that is remembered."""
        return (buckets for buckets in vars(self).values() if isinstance(buckets, Buckets))

    def take_name(self, origin: str, now: float) -> None:
        """An address claims a new name.

        :raises TooManyNames: it has claimed too many of late.
        """
        if origin and self._limit:
            wait = self._names.at(origin, now).take(now)
            if wait:
                raise TooManyNames(limit=self._limit, wait=_in_words(wait))

    def take_room(self, origin: str, now: float) -> None:
        """An address makes a new room.

        :raises TooManyNewRooms: it has made too many of late.
        """
        if origin and self._limit:
            wait = self._rooms.at(origin, now).take(now)
            if wait:
                raise TooManyNewRooms(limit=self._limit * ROOMS_PER_NAME, wait=_in_words(wait))

    def take_invitation(self, key: str, name: str, now: float) -> bool:
        """Whether a name is told of another invitation by whoever has this key."""
        whole = self._all_invitations.at(name, now)
        if whole.wait(now) or self._invitations.at((key, name), now).take(now):
            return False
        whole.take(now)
        return True

    def take_key(self, origin: str, box: str, now: float) -> bool:
        """Whether an address is given another one-time key of a device."""
        whole = self._device_keys.at(box, now)
        if whole.wait(now) or (origin and self._keys.at((origin, box), now).take(now)):
            return False
        whole.take(now)
        return True

    def take_letter(self, origin: str, box: str, size: int, now: float) -> bool:
        """Whether an address may put another letter from a stranger into a box."""
        if not origin:
            return True
        mail = self._mail.at((origin, box), now)
        if mail.wait(now) or self._letters.at((origin, box), now).take(now):
            return False
        mail.spend(size)
        return True

    def take_file(self, origin: str, size: int, space: int, now: float) -> None:
        """An address brings ``size`` bytes of a file, where there is ``space`` for those of all.

        :raises AddressFull: it has brought too many of late.
        """
        if origin:
            bucket = self._files.at(origin, now)
            if bucket.take(now):
                raise AddressFull()
            bucket.spend(size * FILE_SHARE / space * _WHOLE - 1)


def _in_words(seconds: float) -> str:
    minutes = int(seconds / 60) + 1
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
