"""Find faces and their landmarks in photographs."""

from lightface.detection.mtcnn import MtcnnDetector, MtcnnSettings
from lightface.detection.protocol import FaceDetector
from lightface.detection.selection import select_faces

__all__ = ["FaceDetector", "MtcnnDetector", "MtcnnSettings", "select_faces"]
