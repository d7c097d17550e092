"""The answer made visible: tables, figures, and one self-contained HTML page."""

from calibrate.reporting import plots, tables
from calibrate.reporting.page import html, summary_html, write_html

__all__ = ["html", "plots", "summary_html", "tables", "write_html"]
