"""Galleries: the people to be recognised, with their face samples, kept in one file or on a server."""

from lightface.gallery.audit import GalleryAudit, audit_gallery
from lightface.gallery.gallery import Gallery
from lightface.gallery.keys import GalleryKey, KeyFile, Passphrase, make_key_file
from lightface.gallery.places import (
    default_gallery_path,
    describe_place,
    gallery_exists,
    import_gallery,
    new_gallery,
    open_gallery,
)
from lightface.gallery.records import (
    CopySummary,
    Event,
    Expired,
    GalleryMatrix,
    GalleryStats,
    ImportSummary,
    LogEntry,
    NewSample,
    Person,
    StoredSample,
    StoredThreshold,
    is_same_face,
    normalize_name,
)
from lightface.gallery.search import SearchResult
from lightface.gallery.store import GalleryStore

__all__ = [
    "CopySummary",
    "Event",
    "Expired",
    "Gallery",
    "GalleryAudit",
    "GalleryKey",
    "GalleryMatrix",
    "GalleryStats",
    "GalleryStore",
    "ImportSummary",
    "KeyFile",
    "LogEntry",
    "NewSample",
    "Passphrase",
    "Person",
    "SearchResult",
    "StoredSample",
    "StoredThreshold",
    "audit_gallery",
    "default_gallery_path",
    "describe_place",
    "gallery_exists",
    "import_gallery",
    "is_same_face",
    "make_key_file",
    "new_gallery",
    "normalize_name",
    "open_gallery",
]
