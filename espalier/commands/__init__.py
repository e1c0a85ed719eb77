"""The stages of `dvc.yaml` and the commands beside them: files in, files out. One module each, with `run`."""
