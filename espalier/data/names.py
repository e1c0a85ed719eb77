"""The splits.

Apart from the rest, so that reading prepared data does not cost the import of pandas.
"""

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = (TRAIN, VALIDATION, TEST)
