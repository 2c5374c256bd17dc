"""Sealed rooms against a server that is trusted for nothing but delivery, and often not for that."""
