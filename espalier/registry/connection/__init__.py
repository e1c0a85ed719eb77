"""The tracking store: finding it, connecting to it, names and leases in it."""
