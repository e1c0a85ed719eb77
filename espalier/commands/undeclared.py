"""Models of entries that `params.yaml` has no more."""

import shutil
import warnings
from pathlib import Path

from espalier.errors import Notice
from espalier.making.kept import dvc_hash
from espalier.making.stage_dependencies import recorded_outputs
from espalier.params import Params
from espalier.paths import LINEAGE, MODELS, PARAMS
from espalier.upkeep.repair import find_cache


def drop_undeclared(root: Path, params: Params) -> None:
    """Remove models that `params.yaml` has no more, if DVC's cache still holds them."""
    recorded, models = recorded_outputs(root), root / MODELS
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        is_declared = folder.name in params.names
        if is_declared or not folder.is_dir() or not (folder / LINEAGE).is_file():
            continue
        hashed = recorded.get(f"{MODELS}/{folder.name}")
        if hashed and not folder.is_symlink() and _is_in_cache(root, folder, hashed):
            shutil.rmtree(folder)
            print(f"{folder.name}: not in {PARAMS}, removed; DVC's cache keeps it")  # noqa: T201
        else:
            warnings.warn(
                f"Expected {folder} to be a model of {PARAMS}, or one that DVC's cache holds; found "
                "neither: it is left there and not evaluated.",
                Notice,
                stacklevel=3,
            )


def _is_in_cache(root: Path, folder: Path, hashed: str) -> bool:
    """Whether DVC's cache holds each file of a folder under the hash that `dvc.lock` has of it."""
    if dvc_hash(folder) != hashed:
        return False
    cache = find_cache(root, print)
    listing = cache.listing(hashed)
    return listing is not None and all(map(cache.holds, listing.values()))
