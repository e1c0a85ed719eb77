"""Making: how an entry of `params.yaml` becomes a sealed model folder, one operation per `by`."""
