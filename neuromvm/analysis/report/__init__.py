"""The report of a run: what was found, on which data, and how far it can be trusted."""

from neuromvm.analysis.report.document import write_report

__all__ = ["write_report"]
