"""Tables of faces and of pairs: their rows, and the files they are written to."""

from lightface.reports.rows import FaceRow, PairRow, describe_face
from lightface.reports.tables import TABLE_SUFFIXES, check_output, write_faces, write_pairs

__all__ = ["TABLE_SUFFIXES", "FaceRow", "PairRow", "check_output", "describe_face", "write_faces", "write_pairs"]
