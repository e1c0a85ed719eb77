"""The passwords of the services: drawn once, kept in a file that only its owner reads."""

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from espalier.errors import BadInput
from espalier.files import read_json_object

_BYTES = 20  # of randomness in each


@dataclass(frozen=True)
class Passwords:
    """The passwords of the services, in hexadecimal: no shell, address or command has to quote them.

    Attributes:
        postgres: password of the owner of the databases.
        s3: secret of the S3 server's key.
        mlflow: password of MLflow's administrator.
        mlflow_key: key by which MLflow signs the forms of its pages.
        prefect: password of Prefect's API.
    """

    postgres: str
    s3: str
    mlflow: str
    mlflow_key: str
    prefect: str


def read_passwords(path: Path) -> Passwords:
    """The passwords in a file, which is made if it is missing.

    Raises:
        BadInput: if the file lacks one of them, or others can read it.
    """
    names = [field.name for field in fields(Passwords)]
    if not path.exists():
        drawn = Passwords(**{name: secrets.token_hex(_BYTES) for name in names})
        write_private(path, json.dumps(asdict(drawn), indent=2) + "\n")
    if path.stat().st_mode & 0o077:
        raise BadInput(
            f"Expected {path} to be readable by its owner alone; found mode "
            f"{path.stat().st_mode & 0o777:o}: `chmod 600 {path}`."
        )
    content = read_json_object(path)
    missing = [name for name in names if not isinstance(content.get(name), str)]
    if missing:
        raise BadInput(
            f"Expected {path} to hold {', '.join(names)}; found no {missing[0]}: restore the file. "
            "The databases know the passwords that it had."
        )
    return Passwords(**{name: content[name] for name in names})


def write_private(path: Path, content: str) -> None:
    """Write a file atomically that only its owner can read, at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise
