"""How long certificates and revocation lists still hold, in words."""

from __future__ import annotations

from datetime import timedelta

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.names import parse_name
from encchat.pki import authority, build
from encchat.pki.health import Finding, Severity, days, look_at_certificate, look_at_crl, worst
from tests.pki.support import NOW, new_authority

MINUTE = timedelta(minutes=1)


class CertificateTests(SynchronousTestCase):
    """A certificate's days."""

    def _look(self, after: timedelta) -> Finding:
        index, signer = new_authority()
        record = authority.issue_user(index, signer, parse_name("alice"), NOW).records[0]
        return look_at_certificate(record.certificate, "alice.pem", NOW + after)

    def test_ages(self) -> None:
        """Well, soon to end, ended, and not begun."""
        life = build.LEAF_LIFE
        for after, severity, words in [
            (timedelta(), Severity.OK, "expires in 89 days, 2026-05-29 12:00 UTC"),
            (life - timedelta(days=14, minutes=1), Severity.OK, "in 14 days"),
            (life - timedelta(days=14), Severity.WARNING, "in 14 days"),
            (life - timedelta(hours=5), Severity.WARNING, "in 5 hours"),
            (life - timedelta(seconds=1), Severity.WARNING, "in 0 hours"),
            (life, Severity.ERROR, "expired 0 hours ago"),
            (life + timedelta(days=1), Severity.ERROR, "expired 1 day ago"),
            (-build.BACKDATE, Severity.OK, "expires in 89 days"),
            (-build.BACKDATE - MINUTE, Severity.ERROR, "not valid before 2026-03-01 11:00 UTC"),
        ]:
            finding = self._look(after)
            self.assertEqual(finding.severity, severity, finding)
            self.assertIn(words, finding.text)
            self.assertTrue(finding.text.startswith("alice.pem "))
            self.assertEqual(bool(finding.fix), severity > Severity.OK)

    def test_fixes(self) -> None:
        """The clock is to be set when it is the clock; else the certificate is to be renewed."""
        self.assertIn("clock", self._look(-timedelta(days=1)).fix)
        self.assertIn("ca renew", self._look(timedelta(days=100)).fix)


class CrlTests(SynchronousTestCase):
    """A revocation list's days."""

    def test_ages(self) -> None:
        """Well, soon to end, ended, and not begun."""
        index, signer = new_authority()
        crl = build.revocation_list([], 1, signer, NOW)
        for after, severity, words in [
            (timedelta(), Severity.OK, "within 30 days, by 2026-03-31 12:00 UTC"),
            (timedelta(days=23) - MINUTE, Severity.OK, "within 7 days"),
            (timedelta(days=23), Severity.WARNING, "within 7 days"),
            (timedelta(days=30), Severity.ERROR, "everybody is refused"),
            (-timedelta(hours=2), Severity.ERROR, "not valid before"),
        ]:
            finding = look_at_crl(crl, "crl.pem", NOW + after)
            self.assertEqual(finding.severity, severity, finding)
            self.assertIn(words, finding.text)
        self.assertIsNotNone(index)

    def test_endless(self) -> None:
        """A list that never ends says nothing about now."""
        finding = look_at_crl(_Endless(), "crl.pem", NOW)  # type: ignore[arg-type]  # no builder makes one
        self.assertEqual(finding.severity, Severity.ERROR)


class _Endless:
    last_update_utc = NOW
    next_update_utc = None


class WordsTests(SynchronousTestCase):
    """Small helpers."""

    def test_days(self) -> None:
        """One day is no days."""
        self.assertEqual(days(timedelta(days=1, hours=9)), "1 day")
        self.assertEqual(days(timedelta(hours=1)), "1 hour")
        self.assertEqual(days(timedelta(days=2)), "2 days")

    def test_worst(self) -> None:
        """The worst of some, and of none."""
        findings = [Finding(severity, "x", "x") for severity in (Severity.NOTE, Severity.WARNING)]
        self.assertEqual(worst(findings), Severity.WARNING)
        self.assertEqual(worst([]), Severity.OK)
