"""The wiretap: taps around every cipher, and what is told of what they see."""
