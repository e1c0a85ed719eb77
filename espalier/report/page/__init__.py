"""`reports/index.html`: one page with all that was found, which needs no network, no server and no JavaScript."""

from espalier.report.page.document import render

__all__ = ["render"]
