"""What happens, in words and colours, and what is kept of what was shown: nothing here knows a terminal."""
