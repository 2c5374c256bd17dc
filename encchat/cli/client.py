"""``encchat-client``: the options, and nothing that takes time to import.

What a person can cause ends with one sentence on stderr and an exit code: 0 done, 1 something could not be
sent or was not foreseen, 2 usage, 69 unreachable, 76 the other side broke the protocol, 77 refused, 78
configuration, 130 interrupted. The work is in ``client_run``, which is imported when there is some.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import NamedTuple, NoReturn

import click

from encchat import __version__
from encchat.errors import EncchatError, UsageError

PROGRAM = "encchat-client"
INTERRUPTED = 130


class Options(NamedTuple):
    """What was asked for on the command line."""

    address: str
    cipher: str
    name: str | None
    room: str
    state: str | None
    pin: str | None
    accept_new: bool
    accept_log: bool
    link: str | None
    json: bool
    send: tuple[str, str] | None
    follow: bool
    history: int | None
    keep_trying: bool
    linear: bool
    classic: bool
    listen: str | None
    help_ciphers: bool
    wire: tuple[str, ...] = ()
    tail: int | None = None
    since: str | None = None
    until: str | None = None
    send_file: tuple[str, str] | None = None
    get: tuple[str, int] | None = None
    to: str | None = None
    restore: str | None = None
    passphrase_fd: int | None = None

    @property
    def extract(self) -> bool:
        """Whether a part of a room's log is wanted, and nothing said."""
        return (self.tail, self.since, self.until) != (None, None, None)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 something was not sent, 2 usage, 69 unreachable, 76 protocol error, "
    "77 refused, 78 configuration, 130 interrupted.",
)
@click.argument("address", metavar="[HOST[:PORT]]", default="127.0.0.1:9999")
@click.option("--name", help="Your name [default: ENCCHAT_NAME, or your login name]. Each has its own key.")
@click.option("--room", default="+lobby", show_default=True, help="The room to begin in.")
@click.option("--cipher", default="rsa", show_default=True, help="The cipher: rsa, tls:certs=DIR, ...")
@click.option("--help-ciphers", is_flag=True, help="List the ciphers with their arguments.")
@click.option("--send", nargs=2, metavar="ROOM TEXT", help="Send one message; exit 0 once it is stored.")
@click.option("--send-file", nargs=2, metavar="ROOM PATH", help="Give one file; exit 0 once it is there.")
@click.option("--get", type=(str, click.IntRange(1)), metavar="ROOM NUMBER", help="Save one file of a room.")
@click.option("--to", metavar="PATH", help="With --get: save it there [default: your downloads].")
@click.option("--restore", metavar="FILE", help="Take the keys of sealed rooms that /backup wrote, and end.")
@click.option(
    "--passphrase-fd", type=click.IntRange(0, 1_000_000), metavar="N", help="Read a passphrase from there."
)
@click.option("--json", is_flag=True, help="In a pipe: one JSON object a line, both ways.")
@click.option("--follow", is_flag=True, help="In a pipe: stay after the end of the input.")
@click.option("--history", type=click.IntRange(0, 1_000_000), metavar="N", help="Begin N messages back.")
@click.option(
    "--tail", type=click.IntRange(0, 1_000_000), metavar="N", help="Print the last N messages, and end."
)
@click.option(
    "--since", metavar="TIME", help="Print what was said since then (1h, 10:30, 2026-11-23), and end."
)
@click.option("--until", metavar="TIME", help="Print what was said before then, and end.")
@click.option("--linear", is_flag=True, help="On a terminal: no redraws, for screen readers.")
@click.option("--keep-trying", is_flag=True, help="Also try again if the first connection fails.")
@click.option("--state", metavar="DIR", help="Keep keys and messages here.")
@click.option("--pin", metavar="FINGERPRINT", help="The server's key must be this; it is remembered.")
@click.option("--accept-new", is_flag=True, help="Trust a server that you have not met yet.")
@click.option("--accept-log", is_flag=True, help="Trust the server's log though it is not the one you knew.")
@click.option("--link", metavar="CODE", help="Take part under a name that another device has: /link there.")
@click.option("--classic", is_flag=True, help="Talk to the classroom script; nothing is authenticated.")
@click.option("--listen", metavar="PORT", help="With --classic: wait for the script here instead.")
@click.option(
    "--wire",
    is_flag=False,
    flag_value="-",
    multiple=True,
    metavar="[-|FILE]",
    help="Show each message and the network's bytes that carry it: on the screen (-), or into FILE.jsonl or, "
    "for Wireshark, FILE.pcap.",
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s", prog_name=PROGRAM)
def command(**given: object) -> int:
    """Talk on an encchat server. On a terminal, type and read; /help lists the commands. In a pipe, each
    line of input is a message, and each message is a line of output."""
    options = Options(**given)  # type: ignore[arg-type]  # click has given each the type of its option
    _check(options)
    from encchat.cli.client_run import run

    return run(options)


def main() -> NoReturn:
    """The console script."""
    sys.exit(_main())


def _main() -> int:
    # Nothing of what is imported ever becomes garbage; to look for some meanwhile takes long (client_run).
    gc.disable()
    try:
        code = command.main(prog_name=PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.UsageError as error:
        return _told(UsageError(reason=f"{error.format_message()} ({PROGRAM} --help lists the options)"))
    except EncchatError as error:
        return _told(error)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads; keep the interpreter from saying so when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        if error.filename is None:  # stdout: a full disk, closed by whoever called
            return _told(UsageError(reason=f"The output cannot be written: {error.strerror}."), 1)
        return _told(unforeseen(error))
    except Exception as error:
        return _told(unforeseen(error))
    return code if isinstance(code, int) else 0


class Unforeseen(EncchatError):
    """Something happened that nobody foresaw ({what}). Please report it, with what is in {path}."""


def unforeseen(error: BaseException, trace: str | None = None) -> Unforeseen:
    """What nobody foresaw, in one line; its traceback goes into a file."""
    import tempfile
    import traceback

    try:
        handle, path = tempfile.mkstemp(prefix=f"{PROGRAM}-", suffix=".log")
        with os.fdopen(handle, "w", errors="replace") as file:
            file.write(trace or "".join(traceback.format_exception(error)))
    except OSError:
        path = "no file, as none could be written"
    return Unforeseen(what=f"{type(error).__name__}: {error}"[:200], path=path)


def _told(error: EncchatError, code: int | None = None) -> int:
    with suppress(OSError):  # stderr may be gone; the exit code still says it
        print(f"{PROGRAM}: {error}", file=sys.stderr, flush=True)
    return error.exit_code if code is None else code


def _check(options: Options) -> None:
    """Options that do not go together.

    :raises UsageError: says which, and what to do.
    """

    def wrong(reason: str) -> NoReturn:
        raise UsageError(reason=f"{reason} ({PROGRAM} --help lists the options)")

    if options.listen is not None and not options.classic:
        wrong("--listen waits for the classroom script and needs --classic.")
    if options.classic and (options.json or options.send or options.pin or options.follow):
        wrong(
            "--classic knows no rooms, acknowledgements or keys: leave out --json, --send, --pin, --follow."
        )
    if options.classic and options.link is not None:
        wrong("--classic has no names that devices could share: leave out --link.")
    if options.classic and options.cipher != "rsa":
        wrong("--classic is a profile of the cipher rsa: leave out --cipher.")
    if options.extract and (options.classic or options.send or options.history is not None):
        wrong("--tail, --since and --until only read: leave out --send, --history and --classic.")
    if options.tail is not None and options.since is not None:
        wrong("--tail and --since both say where to begin: leave out one of them.")
    if options.extract and options.linear:
        wrong("--tail, --since and --until print and end: leave out --linear.")
    if options.extract and (options.send_file or options.get):
        wrong("--tail, --since and --until only read: leave out --send-file and --get.")
    if options.send and (options.json or options.follow or options.history is not None):
        wrong("--send sends and reads nothing: leave out --json, --follow and --history.")
    if sum(map(bool, (options.send, options.send_file, options.get))) > 1:
        wrong("--send, --send-file and --get each do one thing: use one of them.")
    if (options.send_file or options.get) and (options.follow or options.history is not None):
        wrong("--send-file and --get show nothing of the room: leave out --follow and --history.")
    if (options.send_file or options.get) and options.classic:
        wrong("--classic knows no files: leave out --send-file and --get.")
    if options.restore and (options.send or options.send_file or options.get or options.extract):
        wrong("--restore takes a backup and ends: leave out what else is to be done.")
    if options.restore and options.classic:
        wrong("--classic has no sealed rooms: leave out --restore.")
    if options.to is not None and not options.get:
        wrong("--to says where --get saves a file.")
    if options.send and not options.send[1]:
        wrong("--send needs a text that is not empty.")
    if options.wire:
        from encchat.wiretap.files import check_names

        check_names(options.wire)
    if options.pin and options.accept_new:
        wrong("--pin names the only key that is trusted: leave out --accept-new.")
