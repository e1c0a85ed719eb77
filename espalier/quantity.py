"""Numbers for people: with decimal prefixes, or with separators of thousands."""

_SEPARATED = 10_000  # years have no separator
_LARGEST = 1e15  # beyond it, floating point does not hold every integer


def quantity(value: float) -> str:
    """A number with three digits and a decimal prefix: 1234567 is `1.23 M`."""
    value = float(f"{value:.3g}")  # before the prefix is chosen: 999999 is 1 M
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {prefix}"
    return f"{value:.3g} "


def number(value: float, digits: int = 5) -> str:
    """A number with `digits` digits, of large ones all before the point; from 10,000 on with separators.

    Example:
        >>> number(1234567.8), number(2026.0), number(0.00012345678)
        ('1,234,568', '2026', '0.00012346')
    """
    rounded = abs(float(f"{value:.{digits}g}"))
    separator = "," if rounded >= _SEPARATED else ""
    is_large = 10**digits <= rounded < _LARGEST
    return f"{value:{separator}.0f}" if is_large else f"{value:{separator}.{digits}g}"
