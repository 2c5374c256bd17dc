"""What ``encchat-admin ca`` prints: of certificates and revocation lists, for people and for programs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
from cryptography import x509

from encchat.pki.authority import Change
from encchat.pki.health import stamp
from encchat.pki.index import Index, Record
from encchat.pki.store import Store


def print_made(store: Store, change: Change) -> None:
    """Tell of each certificate that was made: where it is, and until when it is good."""
    for record in change.records:
        wrote = str(store.certificate_path(record.stem))
        wrote += (
            f" and {store.key_path(record.stem)}" if record.serial in change.keys else " for the same key"
        )
        click.echo(f"{record.name}: wrote {wrote}, good until {stamp(record.ends)}, {record.fingerprint}.")


def print_crl(store: Store, index: Index) -> None:
    """Tell of the revocation list that was made."""
    ends = crl_of(index).next_update_utc
    assert ends is not None  # every list of ours has an end
    click.echo(f"Wrote {store.crl_path}, number {index.crl_number}: the next is needed by {stamp(ends)}.")
    click.echo("The service refuses what is on it as soon as it has the file: copy it there.")


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they have to be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        click.echo("  ".join(cells).rstrip())


def crl_of(index: Index) -> x509.CertificateRevocationList:
    """The revocation list; there is one."""
    return x509.load_pem_x509_crl(index.crl.encode("ascii"))


def index_as_json(index: Index, now: datetime) -> dict[str, Any]:
    """Everything that the authority knows of."""
    crl = crl_of(index).next_update_utc if index.crl else None
    return {
        "authority": _record_as_json(index.authority, now),
        "crl": crl
        and {"number": index.crl_number, "ends": crl.isoformat(), "days_left": days_left(crl, now)},
        "certificates": [
            {**_record_as_json(record, now), "state": str(state)} for record, state in index.states(now)
        ],
    }


def _record_as_json(record: Record, now: datetime) -> dict[str, Any]:
    return {
        "name": record.name,
        "role": str(record.role),
        "hosts": list(record.hosts),
        "file": f"{record.stem}.pem",
        "fingerprint": record.fingerprint,
        "serial": record.serial,
        "begins": record.begins.isoformat(),
        "ends": record.ends.isoformat(),
        "days_left": days_left(record.ends, now),
        "revoked": record.revoked and record.revoked.isoformat(),
        "reason": record.reason or None,
    }


def days_left(ends: datetime, now: datetime) -> int:
    """Whole days that are left, never below 0."""
    return max(0, (ends - now).days)
