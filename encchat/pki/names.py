"""The user in a certificate: the one URI SAN ``encchat:NAME``; and the files that are called after him.

The name stands percent-encoded in the URI (RFC 3986, section 2.1), as UTF-8, because a URI in a
certificate is ASCII (RFC 5280, section 4.2.1.6). The common name is for people and never believed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from urllib.parse import quote, unquote_to_bytes

from cryptography import x509

from encchat.core.names import MAX_NAME, BadName, Name, parse_name
from encchat.errors import RefusedError
from encchat.text import clean_line

SCHEME = "encchat:"
#: Characters of the longest URI: each character of a name is at most four bytes, each byte ``%XX``.
MAX_URI = len(SCHEME) + MAX_NAME * 4 * 3

#: The files in a certificate directory that belong to no user.
RESERVED_STEMS = frozenset({"ca", "server", "crl", "index"})

_ENCODED = re.compile(r"(?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+\Z")


class NoUserInCertificate(RefusedError):
    """The certificate names no user: {why}. Use one that was made by `encchat-admin ca user NAME`."""

    code = "no-user-in-certificate"


def user_uri(name: Name) -> str:
    """The URI that names a user in a certificate: ``encchat:zo%C3%AB``."""
    return SCHEME + quote(name.shown, safe="")


def parse_user_uri(uri: str) -> Name:
    """The user that a URI names.

    :raises NoUserInCertificate: it names none; says why.
    """
    if not uri.startswith(SCHEME):
        raise NoUserInCertificate(why=f"its URI {uri[:80]!r} does not begin with {SCHEME!r}")
    encoded = uri[len(SCHEME) :]
    if len(uri) > MAX_URI or not _ENCODED.match(encoded):
        raise NoUserInCertificate(why=f"its URI {uri[:80]!r} is not a percent-encoded name")
    try:
        return parse_name(unquote_to_bytes(encoded).decode("utf-8"))
    except UnicodeDecodeError:
        raise NoUserInCertificate(why=f"its URI {uri[:80]!r} is not UTF-8") from None
    except BadName as error:
        raise NoUserInCertificate(
            why=f"its URI {uri[:80]!r} holds a bad name ({error.facts['why']})"
        ) from None


def user_of(certificate: x509.Certificate) -> Name:
    """The user whom a certificate names. There must be exactly one URI, whatever its scheme: of two,
    different readers might believe a different one.

    :raises NoUserInCertificate: there is none, more than one, or a malformed one.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise NoUserInCertificate(why=f"its extensions cannot be read ({error})") from None
    if len(uris) != 1:
        raise NoUserInCertificate(why=f"it has {len(uris) or 'no'} URIs instead of one {SCHEME}NAME")
    return parse_user_uri(uris[0])


def file_stem(name: Name) -> str:
    """What a user's files are called, without ``.pem`` or ``.key``: the same for the same name, however
    it is written. A name cannot contain '%', so that a user called ``server`` takes nobody's file."""
    return f"user%{name.key}" if name.key in RESERVED_STEMS else name.key


def subject_of(certificate: x509.Certificate) -> str:
    """Whose certificate it says it is, for people, in at most 80 characters; proof of nothing."""
    return _words(lambda: certificate.subject)


def issuer_of(signed: x509.Certificate | x509.CertificateRevocationList) -> str:
    """Who it says has signed it; as :func:`subject_of`."""
    return _words(lambda: signed.issuer)


def _words(name: Callable[[], x509.Name]) -> str:
    try:  # names are parsed as late as this, and may hold anything
        with warnings.catch_warnings():  # of a name that is too long, on whatever terminal there is
            warnings.simplefilter("ignore")
            return clean_line(name().rfc4514_string(), 80) or "no name"
    except (ValueError, TypeError):
        return "an unreadable name"
