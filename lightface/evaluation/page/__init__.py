"""Reports as self-contained HTML files: an evaluation, a gallery's audit, groups of unknown people."""

from lightface.evaluation.page.audit import render_audit
from lightface.evaluation.page.clusters import render_groups
from lightface.evaluation.page.crops import cut_crops
from lightface.evaluation.page.page import render_page

__all__ = ["cut_crops", "render_audit", "render_groups", "render_page"]
