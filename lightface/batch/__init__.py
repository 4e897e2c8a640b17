"""Embed whole folders: a job that can be stopped and continued at any time, and the engines that do its work."""

from lightface.batch.job import (
    EmbedPlan,
    EmbedProgress,
    EmbedSummary,
    Engine,
    FailedPhoto,
    embed_folder,
    journal_path,
    open_job,
)
from lightface.batch.local import LocalEngine
from lightface.batch.output import open_output

__all__ = [
    "EmbedPlan",
    "EmbedProgress",
    "EmbedSummary",
    "Engine",
    "FailedPhoto",
    "LocalEngine",
    "embed_folder",
    "journal_path",
    "open_job",
    "open_output",
]
