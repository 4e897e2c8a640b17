"""The report of an evaluation as one self-contained HTML file."""

from lightface.evaluation.page.crops import cut_crops
from lightface.evaluation.page.page import render_page

__all__ = ["cut_crops", "render_page"]
