"""`reports/index.html`: one self-contained page, without network, server or JavaScript."""

from espalier.report.page.document import render

__all__ = ["render"]
