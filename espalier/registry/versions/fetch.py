"""Download of a version with a check of its files: MLflow accepts versions whose files are missing or changed.

Two failures are kept apart. Files that are missing or changed in the store are bad input: the version
is damaged. Everything else, such as a server that is away, a transfer that was cut or a full disk
here, says nothing about the version: try again.
"""

import re
from pathlib import Path

from espalier import files
from espalier.errors import BadInput, ServerAway, TryAgain, reason_of
from espalier.paths import CONTENT, MANIFEST, content_files
from espalier.registry.versions.location import logged_files
from espalier.registry.versions.registry import Registry

# what MLflow writes into each folder that it loads or downloads by its address, even into that of a local store
_WRITTEN_BY_DOWNLOADS = {"registered_model_meta"}
# MLflow puts the errors of its threads into the text of its own
_FULL = re.compile(r"No space left on device|Disk quota exceeded")


def fetch(registry: Registry, version: str, target: Path) -> str:
    """Download a version of the registered model as a model folder, and check its files.

    Args:
        registry: The registered model.
        version: The number of the version.
        target: The folder to fill.

    Returns:
        The hash of the content, equal to the version's tag `espalier.content`.

    Raises:
        BadInput: If files are missing, were changed, belong to another model, or lie outside the store.
        TryAgain: If the files cannot be reached now, or there is no room for them here.
    """
    address = f"models:/{registry.name}/{version}"
    found = registry.client.get_model_version(registry.name, version)
    logged = logged_files(registry, found, address)
    _download(registry, logged, address, target)
    hashes = files.verify(target, required=CONTENT)
    content = files.digest({name: hashes[name] for name in content_files(hashes)})
    tagged = found.tags.get("espalier.content")
    if content != tagged:
        raise BadInput(
            f"Expected {address} to hold the content {str(tagged)[:12]!a} with which it is tagged; "
            f"found {content[:12]}."
        )
    return content


def _download(registry: Registry, logged: str, address: str, target: Path) -> None:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    sizes = _listed_sizes(registry, logged, address)
    if MANIFEST not in sizes:
        raise BadInput(f"Expected {address} to hold a model folder; found no {MANIFEST}.")
    try:
        mlflow.artifacts.download_artifacts(
            artifact_uri=f"models:/{logged}",
            dst_path=str(target),
            tracking_uri=registry.store.uri,
        )
    except (MlflowException, OSError) as error:
        raise _failure(error, address, target) from error
    for name, size in sizes.items():
        path = target / name
        here = path.stat().st_size if path.is_file() else 0
        if here != size:
            raise TryAgain(
                f"Expected {size:,} bytes of {name} of {address}; found {here:,}: the transfer was cut."
            )


def _listed_sizes(registry: Registry, logged: str, address: str) -> dict[str, int]:
    """The size in bytes of each file of a version, by the store, without what downloads write.

    Raises:
        TryAgain: If the store does not answer; `ServerAway` if it is a server.
    """
    from mlflow.exceptions import MlflowException

    try:
        listed = registry.client.list_logged_model_artifacts(logged)
    except (MlflowException, OSError) as error:
        kind = TryAgain if registry.store.is_local else ServerAway
        raise kind(
            f"Expected {registry.store.shown} to list the files of {address}; found: {reason_of(error)}."
        ) from error
    return {
        file.path: int(file.file_size or 0)
        for file in listed
        if not file.is_dir and file.path not in _WRITTEN_BY_DOWNLOADS
    }


def _failure(error: Exception, address: str, target: Path) -> TryAgain:
    """The error of a download of files that the store lists."""
    full = _FULL.search(str(error))
    if full:
        return TryAgain(
            f"Expected {target.parent} to have room for the files of {address}; found: {full.group()}. "
            "TMPDIR names another folder."
        )
    return TryAgain(f"Expected {address} to be downloaded; found: {reason_of(error)}.")
