"""Tables of faces, of pairs and of groups: their rows, and the files they are written to and read from."""

from lightface.tables.readers import holds_parts, read_faces
from lightface.tables.rows import (
    ClusterRow,
    FaceRow,
    PairRow,
    describe_face,
    describe_failure,
    describe_refusal,
    name_photo,
)
from lightface.tables.writers import (
    TABLE_SUFFIXES,
    check_folder,
    check_output,
    gather_photos,
    link_groups,
    write_clusters,
    write_faces,
    write_pairs,
)

__all__ = [
    "TABLE_SUFFIXES",
    "ClusterRow",
    "FaceRow",
    "PairRow",
    "check_folder",
    "check_output",
    "describe_face",
    "describe_failure",
    "describe_refusal",
    "gather_photos",
    "holds_parts",
    "link_groups",
    "name_photo",
    "read_faces",
    "write_clusters",
    "write_faces",
    "write_pairs",
]
