"""Read-only views of locks: what holds now, what happened, and whether it could have happened."""
