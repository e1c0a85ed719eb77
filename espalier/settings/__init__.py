"""Settings that `params.yaml` and the packages below it share; they are read without torch."""
