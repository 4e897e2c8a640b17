"""Photographs from files to upright RGB, and pictures to files.

Everything that comes out of here is (H, W, 3) uint8 RGB with the EXIF orientation applied, so that no later stage
needs to know what a file looked like.
"""

from lightface.images.decoding import (
    DEFAULT_MAX_PIXELS,
    StoredFrame,
    count_pixels,
    decode_photo,
    is_picture,
    read_frame,
)
from lightface.images.given import GivenPicture, PhotoSource, to_path
from lightface.images.photos import (
    PHOTO_SUFFIXES,
    PassedOver,
    Photo,
    find_folders,
    find_photos,
    hash_file,
    is_photo_name,
    load_photo,
)
from lightface.images.writing import check_picture, save_image

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "PHOTO_SUFFIXES",
    "GivenPicture",
    "PassedOver",
    "Photo",
    "PhotoSource",
    "StoredFrame",
    "check_picture",
    "count_pixels",
    "decode_photo",
    "find_folders",
    "find_photos",
    "hash_file",
    "is_photo_name",
    "is_picture",
    "load_photo",
    "read_frame",
    "save_image",
    "to_path",
]
