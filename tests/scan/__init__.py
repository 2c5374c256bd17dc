"""Scanners of TLS against the running service; see ``__main__``. No tests for trial are here."""
