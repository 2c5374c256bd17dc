"""Who may do what in a room, and how an act of its moderators is done."""
