"""The dimensions that a reshape merges and splits."""

from math import prod


def equal_runs(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """The shortest runs of dimensions of equal volume on both sides.

    Args:
        old: sizes before the reshape.
        new: sizes after it, of the same volume.

    Example:
        >>> equal_runs((8, 4, 2, 2), (8, 16))
        [(slice(0, 1), slice(0, 1)), (slice(1, 4), slice(1, 2))]
    """
    runs, i, j = [], 0, 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        i, j = min(i + 1, len(old)), min(j + 1, len(new))
        left, right = prod(old[start_i:i]), prod(new[start_j:j])
        while left != right:
            if left < right:
                i += 1
            else:
                j += 1
            left, right = prod(old[start_i:i]), prod(new[start_j:j])
        runs.append((slice(start_i, i), slice(start_j, j)))
    return runs
