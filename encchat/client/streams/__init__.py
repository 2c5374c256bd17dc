"""Lines in and out of a program, how far they have come, and what ends first."""
