"""Galleries: the people to be recognised, with their face samples, kept in one file."""

from lightface.gallery.audit import GalleryAudit, audit_gallery
from lightface.gallery.gallery import Gallery, default_gallery_path, open_gallery
from lightface.gallery.records import (
    FaceSample,
    GalleryMatrix,
    GalleryStats,
    ImportSummary,
    Person,
    StoredThreshold,
    is_same_face,
    normalize_name,
)
from lightface.gallery.store import GalleryStore

__all__ = [
    "FaceSample",
    "Gallery",
    "GalleryAudit",
    "GalleryMatrix",
    "GalleryStats",
    "GalleryStore",
    "ImportSummary",
    "Person",
    "StoredThreshold",
    "audit_gallery",
    "default_gallery_path",
    "is_same_face",
    "normalize_name",
    "open_gallery",
]
