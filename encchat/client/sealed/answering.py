"""What a vault's questions to the server are answered with, and what time alone brings: ticks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from encchat import messages as m
from encchat.client import events as e
from encchat.client.sealed.sharing import Sharing
from encchat.core.sealed import effects as fx
from encchat.core.sealed.vault import Vault

#: Seconds from one tick of the vault to the next.
TICK = 5.0
#: Ticks after which a machine that is not in its name's list looks whether it is: at first, later, and how
#: many of the first there are.
LOOK_SOON, LOOK_EVERY, SOON = 2, 12, 120
#: Ticks for which, and how often, it is looked whether a machine asks for a place after /link was typed.
LINKING_FOR, LINKING_EVERY = 180, 3
#: How often keys are refused before a person hears of it.
PUBLISH_TRIES = 3


class Answering(Sharing):
    """The part of ``Chat.sealed`` that hears answers and the clock."""

    def _relayed(self, event: e.Relayed) -> list[e.Event]:
        answered = self._relay.answered(event)
        if self._vault is None or answered is None:
            return []
        match answered:
            case fx.AskDevices(name), m.DeviceList(_, _, listing, certificates) if listing or certificates:
                return self.call(lambda vault, now: vault.devices(name, listing, certificates, now))
            case fx.AskDevices(name), _:
                return self.call(lambda vault, now: vault.no_devices(name, now))
            case fx.Publish(), m.Published(_, _, one_time):
                self._tries = 0
                found = self.call(lambda vault, now: vault.published(one_time, now))
                self._session.enter_sealed()
                return found
            case fx.Publish(), m.Error(_, _, text):
                return self._not_published(text)
            case fx.Claim(name, devices), m.Keys(_, _, keys):
                return self.call(lambda vault, now: vault.claimed(name, devices, keys, now))
            case fx.Claim(name, devices), _:
                return self.call(lambda vault, now: vault.claimed(name, devices, (), now))
            case fx.Post(letters), m.Posted(_, refused):
                return self._refused_letters(letters[place].name for place in refused if place < len(letters))
            case fx.Create(_, msgid) | fx.Append(_, msgid), m.Sent(_, seq, time):
                self._times[msgid] = time
                return self.call(lambda vault, now: vault.appended(msgid, seq, now))
            case fx.Create(_, msgid) | fx.Append(_, msgid), m.Error(_, code, text):
                return self.call(lambda vault, now: vault.refused(msgid, code, text, now))
        return []

    def _refused_letters(self, names: Iterable[str]) -> list[e.Event]:
        """Devices that the server does not know any more."""
        found: list[e.Event] = []
        for name in sorted(set(names)):
            found += self._answer(hinting(name))
        return found

    def _not_published(self, text: str) -> list[e.Event]:
        self._tries += 1
        self._session.enter_sealed()
        if self._tries == PUBLISH_TRIES:
            self._chat.warn(f"the server does not take the keys of this device: {text}")
        return self.call(lambda vault, now: vault.not_published(now))

    def _tick_later(self) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(TICK, self._tick)

    def _tick(self) -> None:
        if self._vault is not None:
            self._tick_later()
            self._session.enter_sealed()
            self._untold += self._hurried()
            self.perform(lambda vault, now: vault.tick(now))
            self._look_for_acceptance()

    def _hurried(self) -> list[e.Event]:
        """What happened and waited, of which ``bridge`` knows."""
        return []

    def _look_for_acceptance(self) -> None:
        """While this machine is not in the list of its name, see now and then whether another let it in; and
        after /link, whether another asks to be let in."""
        self._ticks += 1
        self._linking = max(0, self._linking - 1)
        vault, user = self._vault, self._user
        if vault is None or not self._session.admitted:
            return
        listed = any(certificate.device.id == vault.device for certificate in vault.devices_of(user))
        every = LOOK_SOON if self._ticks < SOON else LOOK_EVERY
        if (self._linking % LINKING_EVERY == 1) if listed else self._ticks % every == 0:
            self.perform(lambda vault, now: vault.ask_devices(user, now))


def hinting(name: str) -> Callable[[Vault, int], fx.Outcome]:
    """Somebody's devices have changed."""
    return lambda vault, now: vault.hint_devices(name, now)
