"""Getting a version's files back, checked: MLflow accepts versions whose files do not exist, and keeps no hashes."""

from pathlib import Path

from espalier import files
from espalier.errors import BadInput
from espalier.paths import MANIFEST
from espalier.registry.versions.model import CONTENT_FILES
from espalier.registry.versions.registry import Registry


def fetch(registry: Registry, version: str, target: Path) -> str:
    """Download a version of the registered model as a model folder.

    Args:
        registry: Where from.
        version: Its number.
        target: The folder to fill.

    Returns:
        The hash of what it holds, which is the one that the version is tagged with.

    Raises:
        BadInput: If files are missing, were changed, or are not those of the version.
    """
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    named = f"models:/{registry.name}/{version}"
    tagged = registry.client.get_model_version(registry.name, version).tags.get("espalier.content")
    try:
        mlflow.artifacts.download_artifacts(
            artifact_uri=named, dst_path=str(target), tracking_uri=registry.store.uri
        )
    except (MlflowException, OSError) as error:
        raise BadInput(
            f"{named} should have the files of a model. Found: {' '.join(str(error).split())}"
        ) from error
    if not (target / MANIFEST).is_file():
        raise BadInput(f"{named} should have the files of a model. Found no {MANIFEST} among them.")
    hashes = files.verify(target)
    missing = [name for name in CONTENT_FILES if name not in hashes]
    if missing:
        raise BadInput(f"{named} should hold {missing[0]}. Found {', '.join(sorted(hashes))}.")
    content = files.digest({name: hashes[name] for name in CONTENT_FILES})
    if content != tagged:
        raise BadInput(
            f"{named} should hold the content {str(tagged)[:12]} that it is tagged with. Found {content[:12]}."
        )
    return content
