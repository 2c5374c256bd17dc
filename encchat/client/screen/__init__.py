"""The consoles for people: what happens, in words and colours, on a terminal or line by line."""
