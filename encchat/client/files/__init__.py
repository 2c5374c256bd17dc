"""Files on their way to a room and from it."""
