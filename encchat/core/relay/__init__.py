"""What the server does for sealed rooms, which it cannot read: keys, mail, and rosters."""
