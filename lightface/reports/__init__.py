"""Tables of faces, of pairs and of groups: their rows, and the files they are written to and read from."""

from lightface.reports.links import check_folder, link_groups
from lightface.reports.parts import holds_parts
from lightface.reports.readers import read_faces
from lightface.reports.rows import ClusterRow, FaceRow, PairRow, describe_face, name_photo
from lightface.reports.tables import TABLE_SUFFIXES, check_output, write_clusters, write_faces, write_pairs

__all__ = [
    "TABLE_SUFFIXES",
    "ClusterRow",
    "FaceRow",
    "PairRow",
    "check_folder",
    "check_output",
    "describe_face",
    "holds_parts",
    "link_groups",
    "name_photo",
    "read_faces",
    "write_clusters",
    "write_faces",
    "write_pairs",
]
