"""Numbers with decimal prefixes.

Apart from the rest, so that making a model does not cost the import of pandas.
"""


def quantity(value: float) -> str:
    """A number with three digits and a decimal prefix: 1234567 is `1.23 M`."""
    value = float(f"{value:.3g}")  # before the prefix is chosen: 999999 is 1 M
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.3g} {prefix}"
    return f"{value:.3g} "
