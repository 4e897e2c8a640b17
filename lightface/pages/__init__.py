"""Reports as self-contained HTML files: an evaluation, a gallery's audit, groups of unknown people."""

from lightface.pages.audit_page import render_audit
from lightface.pages.cluster_page import render_groups
from lightface.pages.document import cut_crops
from lightface.pages.evaluation_page import render_page

__all__ = ["cut_crops", "render_audit", "render_groups", "render_page"]
