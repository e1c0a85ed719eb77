"""Upkeep of a project: damaged files made whole, and leftovers of killed processes removed."""
