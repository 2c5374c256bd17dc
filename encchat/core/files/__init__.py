"""Files that are given to rooms: pieces, quotas, and how long they stay."""
