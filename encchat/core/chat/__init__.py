"""The chat: sessions, rooms, and the way of a message from the one to the others."""
