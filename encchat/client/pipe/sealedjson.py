"""What happens to keys, devices and identities, as lines of ``--json``: see docs/json.md."""

from __future__ import annotations

from encchat.client.pipe.jsonlines import Value, line
from encchat.client.view.sealnews import news_lines
from encchat.core.sealed import events as fx
from encchat.text import clean_line


def of_news(news: fx.Event, me: str) -> bytes | None:
    """The line for one piece of news, in words for ``me``; None for what is told in another way."""
    words = " ".join(text.strip() for _, text in news_lines(news, me))
    match news:
        case fx.IdentityMet(name, fingerprint, trust):
            return line("identity-met", **_name(name), fingerprint=_text(fingerprint), trust=trust)
        case fx.IdentityChanged(name, before, now):
            return line("identity-changed", **_name(name), before=_text(before), now=_text(now), text=words)
        case fx.DeviceChanged(name, device, here):
            return line("device-changed", **_name(name), device=_text(device), here=here)
        case fx.KeysRejected(name, device, reason):
            return line("keys-rejected", **_name(name), device=_text(device), text=_text(reason))
        case fx.MailRejected(sender, device, reason):
            return line("mail-rejected", **_name(sender), device=_text(device), text=_text(reason))
        case fx.OwnDeviceWaits(device, fingerprint):
            device = _text(device)
            return line("own-device-waits", device=device, fingerprint=_text(fingerprint), text=words)
        case fx.DeviceReady(device, listed):
            return line("device-ready", device=_text(device), listed=listed)
        case fx.SendBlocked(room, names):
            return line("send-blocked", room=_text(room), names=_names(names), text=words)
        case fx.Unreachable(room, names):
            return line("unreachable", room=_text(room), names=_names(names))
        case fx.RolledBack(room, seq):
            return line("rolled-back", room=_text(room), seq=seq, text=words)
        case fx.Forked(room, seq, sender):
            return line("forked", room=_text(room), seq=seq, **_name(sender), text=words)
        case fx.SasAsked(_, name, device):
            return line("compare-asked", **_name(name), device=_text(device))
        case fx.SasShown(_, name, _, signs, words_):
            shown: list[Value] = [_text(sign) for sign in signs]
            return line("compare-shown", **_name(name), signs=shown, words=_names(words_))
        case fx.SasEnded(_, name, reason):
            return line("compare-ended", **_name(name), reason=_text(reason), text=words)
        case fx.Verified(name, fingerprint):
            return line("verified", **_name(name), fingerprint=_text(fingerprint))
    return None


def _name(name: str) -> dict[str, Value]:
    return {"name": clean_line(name)}


def _names(names: tuple[str, ...]) -> list[Value]:
    return [clean_line(name) for name in names]


def _text(text: str) -> str:
    return clean_line(text, 1000)
