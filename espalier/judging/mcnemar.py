"""McNemar's exact test of equal accuracy."""

from scipy.stats import binomtest


def mcnemar(lost: int, gained: int) -> float:
    """The p-value of the exact test that two models are right equally often.

    Under that hypothesis, an example that only one of them has right is as probably the one's as
    the other's.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated
    proportions or percentages"; exact by the binomial distribution.

    Args:
        lost: number of examples that only the reference has right.
        gained: number of examples that only the model has right.
    """
    return float(binomtest(lost, lost + gained).pvalue) if lost + gained else 1.0
