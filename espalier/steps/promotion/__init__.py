"""What `espalier promote`, `rollback` and `models` are made of."""
