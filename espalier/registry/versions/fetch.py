"""Download of a version with a check of its files: MLflow accepts versions whose files are missing or changed."""

from pathlib import Path

from espalier import files
from espalier.errors import BadInput
from espalier.paths import CONTENT, MANIFEST, content_files
from espalier.registry.versions.registry import Registry


def fetch(registry: Registry, version: str, target: Path) -> str:
    """Download a version of the registered model as a model folder, and check its files.

    Args:
        registry: The registered model.
        version: The number of the version.
        target: The folder to fill.

    Returns:
        The hash of the content, equal to the version's tag `espalier.content`.

    Raises:
        BadInput: If files are missing, were changed, or belong to another model.
    """
    address = f"models:/{registry.name}/{version}"
    tags = registry.client.get_model_version(registry.name, version).tags
    tagged = tags.get("espalier.content")
    _download(registry, address, target)
    if not (target / MANIFEST).is_file():
        raise BadInput(f"Expected {address} to hold a model folder; found no {MANIFEST}.")
    hashes = files.verify(target, required=CONTENT)
    content = files.digest({name: hashes[name] for name in content_files(hashes)})
    if content != tagged:
        raise BadInput(
            f"Expected {address} to hold the content {str(tagged)[:12]} with which it is tagged; "
            f"found {content[:12]}."
        )
    return content


def _download(registry: Registry, address: str, target: Path) -> None:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    try:
        mlflow.artifacts.download_artifacts(
            artifact_uri=address, dst_path=str(target), tracking_uri=registry.store.uri
        )
    except (MlflowException, OSError) as error:
        found = " ".join(str(error).split())
        raise BadInput(f"Expected {address} to hold a model folder; found: {found}") from error
