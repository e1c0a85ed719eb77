"""The commands of the library and their options; nothing heavy is imported here."""

from pathlib import Path
from typing import Any, NamedTuple

from espalier.settings.recipes import RECIPES

Options = tuple[tuple[str, dict[str, Any]], ...]


class Command(NamedTuple):
    """A command of the library. Its step is `run` in `espalier.commands.MODULE`.

    Attributes:
        name: name of the command.
        help: one line for the user.
        options: flags or names of its arguments, with the keywords of `add_argument`.
        module: name of its module; by default that of the command.
        anywhere: whether it runs outside a project, and gets no root.
    """

    name: str
    help: str
    options: Options = ()
    module: str = ""
    anywhere: bool = False


_ANY_MODEL: Options = (
    (
        "--in",
        {
            "metavar": "NAME",
            "dest": "within",
            "help": "another registered model than the project's",
        },
    ),
    ("--at", {"metavar": "URI", "help": "in another store: a server, or sqlite:///..."}),
)
_ARGUMENTS = (
    "--arguments",
    {"metavar": "YAML", "help": "arguments of the factory: '{depth: 20}'"},
)
_INPUT = (
    "--input",
    {
        "metavar": "YAML",
        "dest": "settings",
        "help": "preprocessing of a float input: '{mean: [0.485, 0.456, 0.406], std: [...]}'",
    },
)

COMMANDS = (
    Command(
        "init",
        "make a folder a project: params.yaml, dvc.yaml, gates, schedules, git and DVC",
        (
            ("folder", {"metavar": "DIR", "type": Path, "help": "the folder; made if need be"}),
            (
                "--recipe",
                {
                    "choices": RECIPES,
                    "default": "folder",
                    "help": "digits (the embedded data), folder (own photos; the default), import "
                    "(own trained network), table, questions (texts), spoken-digits (clips), or one of "
                    "the two on standard sets",
                },
            ),
        ),
        anywhere=True,
    ),
    Command("prepare", "check data/, split it, and write it as tensors to prepared/"),
    Command(
        "make",
        "make one model of the tree that params.yaml declares",
        (("name", {"metavar": "NAME", "help": "an entry under `models`, or `teacher`"}),),
    ),
    Command("evaluate", "measure every model on the test split, and write reports/"),
    Command("report", "write reports/index.html again, from the last evaluation"),
    Command(
        "register",
        "log all models and their metrics to MLflow",
        (
            (
                "--check",
                {
                    "action": "store_true",
                    "help": "only report whether the registry holds everything",
                },
            ),
        ),
    ),
    Command(
        "promote",
        "move aliases to the best models that pass the gates of mlflow/gates.yaml",
        (
            (
                "--alias",
                {
                    "metavar": "ALIAS",
                    "help": "move only this alias; by default all, with --into: champion",
                },
            ),
            (
                "--into",
                {"metavar": "NAME", "help": "copy the version here to another registered model"},
            ),
            (
                "--at",
                {
                    "metavar": "URI",
                    "help": "of another store: a server, or sqlite:///... (with --into)",
                },
            ),
            (
                "--without-champion",
                {
                    "metavar": "REASON",
                    "help": "judge without a champion whose files are lost or take other inputs; for the audit",
                },
            ),
            (
                "--again",
                {
                    "metavar": "REASON",
                    "help": "promote a model from which the alias was rolled back; for the audit",
                },
            ),
        ),
    ),
    Command(
        "rollback",
        "move the champion back to its former version",
        (
            ("--to", {"metavar": "VERSION", "help": "another version that was champion before"}),
            ("--alias", {"metavar": "ALIAS", "default": "champion", "help": "another alias"}),
            *_ANY_MODEL,
        ),
    ),
    Command(
        "models",
        "list the versions in the registry, their aliases, and every move of an alias",
        _ANY_MODEL,
    ),
    Command(
        "backup",
        "write the registry of the project to one archive",
        (
            (
                "file",
                {
                    "metavar": "FILE",
                    "type": Path,
                    "nargs": "?",
                    "help": "by default backups/NAME-DATE-TIME.tar",
                },
            ),
        ),
    ),
    Command(
        "restore",
        "restore the registry from a backup, or the audit in the store from mlflow/audit",
        (
            (
                "file",
                {
                    "metavar": "FILE",
                    "type": Path,
                    "nargs": "?",
                    "help": "a backup; by default the audit is written again from its file",
                },
            ),
            *_ANY_MODEL,
        ),
    ),
    Command(
        "data",
        "replace data/ by another data set, and version it",
        (
            (
                "source",
                {
                    "metavar": "SOURCE",
                    "help": "digits, mnist, fashion-mnist, cifar10, cifar100, a folder, or "
                    "tables (parquet, CSV, TSV, JSON lines)",
                },
            ),
            (
                "--root",
                {
                    "type": Path,
                    "metavar": "DIR",
                    "dest": "files",
                    "help": "use the files in this folder instead of a download",
                },
            ),
        ),
    ),
    Command(
        "prune",
        "cut a trained network to a fraction of its work, without a project",
        (
            (
                "weights",
                {"metavar": "FILE", "type": Path, "help": "an ONNX file, or a file of weights"},
            ),
            (
                "--model",
                {
                    "metavar": "FACTORY",
                    "help": "the network that weights belong to, such as torchvision:resnet18 or "
                    "networks:mine",
                },
            ),
            _ARGUMENTS,
            (
                "--shape",
                {"help": "shape of an input; by default that of the ONNX file, or 3x224x224"},
            ),
            ("--keep-macs", {"type": float, "default": 0.5, "help": "fraction; by default 0.5"}),
            (
                "--score",
                {
                    "choices": ("magnitude", "l1", "geometric_median", "lamp", "norm_scale"),
                    "default": "magnitude",
                    "help": "importance of channels",
                },
            ),
            ("--align", {"type": int, "default": 8, "help": "widths are multiples of this"}),
            (
                "--calibrate",
                {
                    "metavar": "FOLDER",
                    "type": Path,
                    "help": "images without labels, on which each layer is fitted to what the whole network computes",
                },
            ),
            _INPUT,
            (
                "--out",
                {"metavar": "FOLDER", "type": Path, "required": True, "help": "a new folder"},
            ),
        ),
        module="prune_file",
        anywhere=True,
    ),
    Command(
        "quantize",
        "write an ONNX file in 8-bit integers, without a project",
        (
            ("file", {"metavar": "FILE", "type": Path, "help": "an ONNX file that takes images"}),
            (
                "--calibrate",
                {
                    "metavar": "FOLDER",
                    "type": Path,
                    "required": True,
                    "help": "images of the kind that the file will see",
                },
            ),
            ("--out", {"metavar": "FILE", "type": Path, "help": "by default FILE-int8.onnx"}),
            _INPUT,
            (
                "--calibration",
                {
                    "choices": ("entropy", "percentile", "minmax"),
                    "default": "entropy",
                    "help": "choice of ranges",
                },
            ),
        ),
        module="quantize_file",
        anywhere=True,
    ),
    Command(
        "import",
        "try a trained network on the data, and say how to make it the teacher",
        (
            (
                "weights",
                {
                    "metavar": "WEIGHTS",
                    "nargs": "?",
                    "help": "an ONNX file, a file of weights, or a name such as DEFAULT; by default the "
                    "teacher of params.yaml",
                },
            ),
            (
                "--model",
                {"metavar": "FACTORY", "help": "the network, such as torchvision:resnet18"},
            ),
            _ARGUMENTS,
            _INPUT,
            ("--key", {"metavar": "KEY", "help": "where the weights are in a checkpoint"}),
        ),
        module="import_network",
    ),
    Command(
        "show",
        "print the tree of models with their last metrics, or the layers of one model",
        (
            (
                "name",
                {
                    "metavar": "NAME",
                    "nargs": "?",
                    "help": "list its layers and their pairs in its teacher",
                },
            ),
        ),
    ),
    Command(
        "strings",
        "write a model on texts as a file that takes raw strings",
        (
            ("name", {"metavar": "NAME", "help": "a model of texts in `tokens: ascii_words`"}),
            ("--out", {"metavar": "FILE", "type": Path, "help": "by default NAME-strings.onnx"}),
        ),
    ),
    Command(
        "repair",
        "verify models and DVC's cache, and restore or make again what is damaged",
    ),
    Command(
        "doctor",
        "report what this machine and project have, what is missing, stale or damaged",
        (
            (
                "--mend",
                {"action": "store_true", "help": "remove what is stale, repair what is damaged"},
            ),
        ),
    ),
    Command(
        "bench",
        "measure how fast this machine distils, beside the loops that one would write",
        (
            (
                "--rounds",
                {"type": int, "default": 3, "help": "epochs of each way; the median counts"},
            ),
        ),
        anywhere=True,
    ),
)
