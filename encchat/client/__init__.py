"""The client: connection, stored state, and the consoles that people and programs use."""
