"""What costctl knows of the billed machine and what it can do with it."""
