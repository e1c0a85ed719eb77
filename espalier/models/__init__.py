"""Networks: built by name, saved and loaded without pickled code.

>>> from espalier.models import build, load, save
>>> network = build("espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8, "width": 16})
"""

from espalier.models.architecture import Architecture, architecture_of
from espalier.models.build import build
from espalier.models.folder import content_hash, load, save

__all__ = ["Architecture", "architecture_of", "build", "content_hash", "load", "save"]
