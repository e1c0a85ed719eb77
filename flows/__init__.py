"""What the product does: wiring only. A flow fits on a screen; how a step runs is in `tasks`."""
