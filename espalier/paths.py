"""The names of all artefacts, relative to the root of a project."""

from collections.abc import Collection
from pathlib import Path

from espalier.errors import BadInput

PARAMS = "params.yaml"
DATA = "data"
PREPARED = "prepared"
MODELS = "models"
REPORTS = "reports"
REGISTERED = "registered.json"
TEACHER = "teacher"
GATES = "mlflow/gates.yaml"
AUDIT = "mlflow/audit"  # every move of an alias, as files for git
DEPLOYMENTS = "prefect.yaml"
EXPERIMENTS = (".dvc", "tmp", "exps")  # DVC's copies of a project, one for each queued experiment
STATE = ".espalier"  # checkpoints, outputs of teachers, locks: deleting it costs only time
FLEET = ".fleet"  # databases, objects and passwords of `espalier fleet`: nothing makes them again
SPLIT_USES = "test_splits.json"  # in it: how often each test split has decided, for the page

# a prepared data set
DATASET = "dataset.json"
EXAMPLES = "manifest.parquet"

# a model folder
ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"
TOKENIZER = "tokenizer.json"  # of models on texts
COLUMNS = "columns.json"  # of models on tables
HEADS = "heads.json"  # of models with several heads
CLASS_NAMES = "classes.json"  # of models whose outputs are classes: their names, in order
DEPLOYED = "model.onnx"
PACKED = "packed.espalier"
HISTORY = "history.csv"
METRICS = "metrics.json"
CUT = "cut.json"  # the outputs of the parent's layers that pruning has kept
LINEAGE = "lineage.json"
MANIFEST = "manifest.json"

# the reports
TABLE = "models.csv"
CLASSES = "classes.csv"
CONDITIONS = "conditions.json"
PREDICTIONS = "predictions"
PAGE = "index.html"
FIGURES = "metrics"  # the main figures of each model, for `dvc metrics`
SALIENCY = "saliency.json"  # saliency maps of some test images
SENSITIVITY = "sensitivity.csv"
SURROGATES = "surrogates.json"  # decision trees fitted to the answers of each network
ACTIVITY = "activity.csv"  # activity of removed and of kept channels
CURVES = "curves"  # the history of each training, for `dvc plots`

# files that the content hash of a model covers: in all models, and in some of them
CONTENT = (ARCHITECTURE, WEIGHTS, DEPLOYED)
_MORE_CONTENT = (TOKENIZER, COLUMNS, HEADS, CLASS_NAMES)


def content_files(present: Collection[str]) -> tuple[str, ...]:
    """The names of the files of a model folder that its content hash covers.

    Args:
        present: names of all its files.
    """
    return (*CONTENT, *(name for name in _MORE_CONTENT if name in present))


def made_model(project: Path, name: str) -> Path:
    """The folder of a model that has been made, complete or not.

    Args:
        project: root folder of the project.
        name: name of the entry.

    Raises:
        BadInput: if there is no folder; the message has the commands that bring it.
    """
    folder = project / MODELS / name
    if not folder.is_dir():
        raise BadInput(
            f"Expected {folder} to be the folder of a model; found no folder: `espalier run` makes it, or "
            "`dvc checkout` brings it from DVC's cache if it was recorded."
        )
    return folder


def root(start: Path | None = None) -> Path:
    """The project around `start` (the current folder): the nearest folder upwards that holds `params.yaml`.

    Raises:
        BadInput: if there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PARAMS).is_file():
            return folder
    raise BadInput(
        f"Expected {PARAMS} to lie in {here} or a folder above it; found none: `espalier init DIR` "
        "makes a project."
    )


def origin(project: Path) -> Path:
    """The project from which DVC has copied a queued experiment; any other project itself.

    DVC copies the whole git repository, also if it was initialised in a folder of it, or the project is a
    folder of what DVC manages.

    Example:
        `/work/digits/.dvc/tmp/exps/tmp8a1b` is a copy of `/work/digits`.
    """
    for folder in project.parents:
        if folder.parts[-len(EXPERIMENTS) :] == EXPERIMENTS:
            managed = folder.parents[len(EXPERIMENTS) - 1]
            _, *inside = project.relative_to(folder).parts
            places = (managed.joinpath(*inside[skipped:]) for skipped in range(len(inside) + 1))
            return next((place for place in places if (place / PARAMS).is_file()), project)
    return project
