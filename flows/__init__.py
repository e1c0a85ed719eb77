"""Flows: wiring only. A flow fits on a screen; `tasks` holds the steps."""
