"""One server and the way to it: its address, its key, the connection, and coming back after it is lost."""
