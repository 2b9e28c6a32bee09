"""Pages of run folders: `report.html` of a run, and a page that compares several."""

from experiments.report.pages.comparison import write as write_comparison
from experiments.report.pages.folder import RunFolder, found_in, is_run
from experiments.report.pages.run import PAGE
from experiments.report.pages.run import write as write_report

__all__ = ["PAGE", "RunFolder", "found_in", "is_run", "write_comparison", "write_report"]
