"""``cam report``: an HTML gallery of a run that opens from disk, without a server and without the network.

    index ─► rows ─► pictures (threads) ─► records ─► report/data-0001.js … ─► report.html

Everything that depends on all images together (means, distributions, confusions) is computed by the page, of the images
that its filters show. The page is :mod:`camcli.report.page`; its script and style are in ``assets/``.
"""

from camcli.report.build import Gallery, ReportOptions, build_report

__all__ = ["Gallery", "ReportOptions", "build_report"]
