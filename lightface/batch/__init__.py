"""Embed whole folders: a job that can be stopped and continued at any time, and the engines that do its work."""

from lightface.batch.job import EmbedPlan, EmbedProgress, EmbedSummary, journal_path, open_job
from lightface.batch.local import embed_folder

__all__ = ["EmbedPlan", "EmbedProgress", "EmbedSummary", "embed_folder", "journal_path", "open_job"]
