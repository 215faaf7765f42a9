"""How fast and how large: several ways to one result, timed in turn on one machine."""
