"""The audit names a user without an entry in passwd, as containers have them, by number."""

import getpass
import os
from pathlib import Path

from espalier.registry.promotion.audit import user
from espalier.tasks.environment import configure_environment


def test_a_user_without_a_name_is_a_number(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert user() == str(os.getuid())


def test_a_user_without_a_home_has_no_profile(monkeypatch, tmp_path):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    without = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    monkeypatch.setattr(os, "environ", without)  # a copy, so that nothing is set for other tests
    monkeypatch.setattr(Path, "home", homeless)
    assert configure_environment(tmp_path) == tmp_path / ".espalier" / "prefect"
