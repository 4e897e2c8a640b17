"""Find faces and their landmarks in photographs."""

from lightface.detection.detector import FaceDetector, select_faces
from lightface.detection.mtcnn import MtcnnDetector, MtcnnSettings

__all__ = ["FaceDetector", "MtcnnDetector", "MtcnnSettings", "select_faces"]
