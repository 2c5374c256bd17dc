"""What a person does with identities and devices: to believe them, to compare them, to let them in, to take
them back; and a backup of the keys. What becomes of it is told by ``SealedNews``."""

from __future__ import annotations

from msgspec import Struct

from encchat.client.sealed.bridge import Bridge
from encchat.client.sealed.holding import SealedUnavailable
from encchat.core.names import parse_name
from encchat.core.sealed import effects as fx
from encchat.core.sealed.backup import Contents
from encchat.core.sealed.formats import Certificate, fingerprint_of
from encchat.core.sealed.numbers import SafetyNumber
from encchat.core.sealed.vault import Vault


class OwnDevice(Struct, frozen=True):
    """A device of one's own name: since when it is (milliseconds), whether it is ``this`` one, and whether it
    is ``listed`` or waits to be accepted."""

    id: str
    fingerprint: str
    created: int
    this: bool
    listed: bool


class People(Bridge):
    """The part of ``Chat.sealed`` for people and devices."""

    @property
    def device(self) -> str:
        """The id of this device; empty where there is none."""
        return "" if self._vault is None else self._vault.device

    # ------------------------------------------------------------------------------------------ people

    def meet(self, name: str) -> None:
        """Ask for somebody's devices; ``SealedNews`` tells what is new of them."""
        self.perform(lambda vault, now: vault.ask_devices(key_named(name), now))

    def accept_identity(self, name: str) -> None:
        """Believe the identity that claims a name now.

        :raises NobodyOffered: none does.
        """
        self.perform(lambda vault, now: vault.accept_identity(key_named(name), now))

    def safety_number(self, name: str) -> SafetyNumber:
        """The digits to compare with somebody.

        :raises NothingToCompare: nobody has met them here; ``meet`` them first.
        """
        return self._check().safety_number(key_named(name))

    def verify(self, number: SafetyNumber) -> None:
        """A person compared this number and found it the same; ``SealedNews(Verified)`` follows.

        :raises NothingToCompare: the identity has changed since.
        """
        self.perform(lambda vault, now: vault.verify(number, now))

    def devices_of(self, name: str) -> list[Certificate]:
        """The devices of somebody, as far as they are known here."""
        return self._check().devices_of(key_named(name))

    def devices(self) -> tuple[OwnDevice, ...]:
        """The devices of one's own name; those that wait to be accepted come last, this one among them."""
        vault = self._check()
        known = vault.devices_of(self._user)
        ids = {certificate.device.id for certificate in known}
        waiting = [each for each in vault.waiting_devices() if each.device.id not in {*ids, vault.device}]
        if vault.waits:
            waiting.append(vault.certificate)
        return tuple(
            OwnDevice(
                certificate.device.id,
                fingerprint_of(certificate.identity),
                certificate.device.created,
                certificate.device.id == vault.device,
                certificate.device.id in ids,
            )
            for certificate in (*known, *waiting)
        )

    def accept_device(self, device: str) -> None:
        """Let a device of one's own name in, whose fingerprint a person compared.

        :raises RefusedError: none such waits, or another device keeps the list.
        """
        self.perform(lambda vault, now: vault.accept_device(device, now))

    def revoke_device(self, device: str) -> None:
        """Take a device out of the list of one's own name, for ever.

        :raises RefusedError: it is not in it, or another device keeps the list.
        """
        self.perform(lambda vault, now: vault.revoke_device(device, now))

    def renew_device(self) -> None:
        """Become a new device, after ``RolledBack``."""
        self.perform(lambda vault, now: vault.renew(now))
        self._introduce(self._check())
        self._chat.redial()

    # --------------------------------------------------------------------------------------- comparing

    def start_sas(self, name: str, device: str = "") -> bytes:
        """Ask somebody to compare emoji, at one of their devices (empty: at all, of which the first that
        answers counts). Returns what the others take; ``SealedNews`` tells how it goes on.

        :raises NothingToCompare: there is no such device.
        """
        key = key_named(name)
        started: list[bytes] = []

        def start(vault: Vault, now: int) -> fx.Outcome:
            transaction, outcome = vault.start_sas(key, device, now)
            started.append(transaction)
            return outcome

        self.perform(start)
        return started[0]

    def accept_sas(self, transaction: bytes) -> None:
        """Agree to compare emoji."""
        self.perform(lambda vault, now: vault.accept_sas(transaction, now))

    def confirm_sas(self, transaction: bytes) -> None:
        """The emoji are the same."""
        self.perform(lambda vault, now: vault.confirm_sas(transaction, now))

    def cancel_sas(self, transaction: bytes) -> None:
        """They differ, or it is not wanted."""
        self.perform(lambda vault, now: vault.cancel_sas(transaction, now))

    # ------------------------------------------------------------------------------------------ backup

    def contents(self) -> Contents:
        """What a backup holds; ``core.sealed.backup.seal`` makes the file of it, in a thread."""
        return self._check().contents(self._chat.milliseconds())

    def restore(self, contents: Contents) -> int:
        """Take what a backup held; how many keys were taken.

        :raises BackupUnreadable: it is of another name.
        """
        taken: list[int] = [0]

        def restore(vault: Vault, now: int) -> fx.Outcome:
            taken[0], outcome = vault.restore(contents, now)
            return outcome

        self.perform(restore)
        return taken[0]

    def _check(self) -> Vault:
        if self._vault is None:
            raise SealedUnavailable(reason=self.why_not)
        return self._vault


def key_named(name: str) -> str:
    """A name as a person wrote it, in the form that is compared.

    :raises RefusedError: nobody can be called so.
    """
    return parse_name(name).key
