"""Servers that are asked without the proxies of the environment."""

import os

LOOPBACK_HOSTS = ("127.0.0.1", "localhost")
_LISTS = ("no_proxy", "NO_PROXY")  # each client reads the one or the other first


def ask_directly(*hosts: str) -> None:
    """Except hosts from the proxies of this process, and of the processes that it starts.

    Other hosts keep theirs: without proxies nothing is set, because systems have proxies beside the variables,
    which count only where there is no variable.
    """
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return
    given = {name: os.environ.get(name, "") for name in _LISTS}
    for name in _LISTS:
        text = given[name] or given["no_proxy"] or given["NO_PROXY"]
        known = [host.strip() for host in text.split(",") if host.strip()]
        if "*" not in known:
            os.environ[name] = ",".join(dict.fromkeys([*known, *hosts]))
