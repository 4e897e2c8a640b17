"""Galleries: the people to be recognised, with their face samples, kept in one file or on a server."""

from lightface.gallery.audit import GalleryAudit, audit_gallery
from lightface.gallery.gallery import Gallery
from lightface.gallery.keys import GalleryKey, KeyFile, Passphrase, make_key_file
from lightface.gallery.places import default_gallery_path, describe_place, gallery_exists, open_gallery
from lightface.gallery.records import (
    CopySummary,
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
    "CopySummary",
    "FaceSample",
    "Gallery",
    "GalleryAudit",
    "GalleryKey",
    "GalleryMatrix",
    "GalleryStats",
    "GalleryStore",
    "ImportSummary",
    "KeyFile",
    "Passphrase",
    "Person",
    "StoredThreshold",
    "audit_gallery",
    "default_gallery_path",
    "describe_place",
    "gallery_exists",
    "is_same_face",
    "make_key_file",
    "normalize_name",
    "open_gallery",
]
