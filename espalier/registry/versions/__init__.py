"""Versions: model folders as versions of the registered model in MLflow."""
