"""Whether two models are right equally often."""

from scipy.stats import binomtest


def mcnemar(lost: int, gained: int) -> float:
    """The p-value of the exact test: if they are, those that only one has right fall to either with equal chance.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated proportions or
    percentages"; exact by the binomial distribution.

    Args:
        lost: Examples that only the reference has right.
        gained: Examples that only the model has right.
    """
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
