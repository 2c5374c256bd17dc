"""Sealed rooms in the client: real sessions, chats and stores, with the real hub between them."""
