"""Live metrics: runs in MLflow that show a training while it runs."""
