"""Settings of data: how `data/` becomes `prepared/`."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from espalier.errors import BadInput
from espalier.settings.audio import AudioPolicy
from espalier.settings.images import ImagePolicy
from espalier.settings.limits import DECODING_SECONDS
from espalier.settings.tasks import HeadSettings, TaskName, TaskSettings, check_names
from espalier.settings.texts import TextPolicy

Fraction = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Names of the columns of tables; by default the usual names are looked for.

    Attributes:
        image: column of the images, or of their paths.
        audio: column of the clips, or of their paths.
        text: column of the texts.
        label: column of the labels, or of the numbers to predict.
        split: column of the splits.
        ignore: columns of a table that are no features, such as names and numbers of the rows.
    """

    image: str | None = None
    audio: str | None = None
    text: str | None = None
    label: str | None = None
    split: str | None = None
    ignore: tuple[str, ...] = ()

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The section `data` of `params.yaml`.

    Attributes:
        kind: kind of the examples; by default it follows from the files and columns.
        task: task, as a name or with its settings; by default it follows from the labels.
        heads: several tasks of one network, by the names of its heads; empty for a single task.
        validation: fraction of the examples outside the test split that is held out for choices,
            where no validation split is given.
        test: fraction of all examples held out for evaluation, where no test split is given.
        split: `threshold` places each example by its own hash and the seed alone, so that none ever
            moves when data grow; the fractions hold on average. `exact` draws the fractions of each
            class by count; as data grow, examples may move.
        seed: seed of the split; None takes the seed of the project.
        duplicates: treatment of images that are in two given splits: refuse, or drop them from the
            less strict one.
        skip_bad: largest number of examples that may be left out because they cannot be read.
        decode_seconds: largest time to decode an image, a clip, or some rows of a parquet file, in a process
            that is killed after it.
        crop: largest random shift of training images, in pixels; -1 for the default of the data set.
        flip: whether training images may be mirrored; by default as the data set says.
        images: form that images are brought into.
        audio: form that clips are brought into, and their spectrogram.
        text: division of texts into tokens.
        arrays: function of a trusted package that gives arrays, `package.module:function`.
        class_folder: folder that is the class where images lie several folders deep.
        columns: names of the columns of tables.
        first_label: number of the first class, where labels are numbers.
    """

    kind: Literal["image", "audio", "text", "table", "tensor"] | None = None
    task: TaskName | TaskSettings | None = None
    heads: dict[str, HeadSettings] = field(default_factory=dict)
    validation: Fraction = 0.15
    test: Fraction = 0.2
    split: Literal["threshold", "exact"] = "threshold"
    seed: Annotated[int, Field(ge=0)] | None = None
    duplicates: Literal["refuse", "drop"] = "refuse"
    skip_bad: Annotated[int, Field(ge=0)] = 0
    decode_seconds: Annotated[float, Field(gt=0)] = DECODING_SECONDS
    crop: Annotated[int, Field(ge=-1)] = -1
    flip: bool | None = None
    images: ImagePolicy = field(default_factory=ImagePolicy)
    audio: AudioPolicy = field(default_factory=AudioPolicy)
    text: TextPolicy = field(default_factory=TextPolicy)
    arrays: str | None = None
    class_folder: Literal["first", "last"] | None = None
    columns: Columns = field(default_factory=Columns)
    first_label: int = 0

    def __post_init__(self) -> None:
        """Refuse two ways to crop, and a task of its own beside heads, which have one each.

        Raises:
            BadInput: if images that are cropped as they are decoded should be shifted too, a task is given
                beside heads, or a name of a head is not valid.
        """
        if self.images.decode == "on_the_fly" and self.crop > 0:
            raise BadInput(
                "Expected no `data.crop` with `data.images.decode: on_the_fly`, whose random crops "
                f"take the place of shifts; found {self.crop}."
            )
        check_names(self.heads)
        beside = "data.task" if self.task else "data.columns.label" if self.columns.label else ""
        if self.heads and beside:
            raise BadInput(
                f"Expected `data.heads` alone, whose heads have a `task` and a `label` each; found "
                f"`{beside}` beside it."
            )

    @property
    def task_settings(self) -> TaskSettings:
        """The settings of the task; without a name where it follows from the labels."""
        return self.task if isinstance(self.task, TaskSettings) else TaskSettings(name=self.task)

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
