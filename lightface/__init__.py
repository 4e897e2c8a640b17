"""Offline face recognition on LightCNN: photographs in, names out.

import lightface

print(lightface.verify("a.jpg", "b.jpg"))

Every public name is here. Importing loads nothing: a name brings in its module when it is first used.

What goes wrong on purpose is a `LightfaceError`, whose message is one line with the problem and the remedy:

    LightfaceError
      ConfigError, DeviceError, OutputError, RemoteError, TableError, MetadataError, ClusterError, ThresholdError
      PhotoError                      one photograph gives no usable face; `reason` is the word in reports
        ImageError                    MissingFileError, ImageTooLargeError
        FaceNotFoundError, MultipleFacesError, FaceTooSmallError, LowDetectionScoreError, LowQualityError
        DuplicateFaceError, IdentityConflictError
      WeightsError                    ChecksumError, CheckpointError
      GalleryError                    LockedGalleryError, ModelMismatchError, PersonNotFoundError
      EvaluationError, TrainingError
"""

TYPE_CHECKING = False  # type checkers take it for true; to import typing for it would take longer than all else here

__version__ = "0.1.0"

_NAMES_OF_MODULES = {
    "lightface.api": (
        "calibrate cluster default_pipeline detect embed embed_folder enroll evaluate find identify verify"
    ),
    "lightface.batch": "EmbedProgress EmbedSummary",
    "lightface.drawing": "draw_faces",
    "lightface.errors": (
        "CheckpointError ChecksumError ClusterError ConfigError DeviceError DuplicateFaceError EvaluationError "
        "FaceNotFoundError FaceTooSmallError GalleryError IdentityConflictError ImageError ImageTooLargeError "
        "LightfaceError LockedGalleryError LowDetectionScoreError LowQualityError MetadataError "
        "MissingFileError ModelMismatchError MultipleFacesError OutputError PersonNotFoundError PhotoError RemoteError "
        "TableError ThresholdError TrainingError WeightsError"
    ),
    "lightface.evaluation.calibrate": "Proposal",
    "lightface.evaluation.evaluate": "Evaluation",
    "lightface.gallery": "Gallery KeyFile Passphrase Person default_gallery_path open_gallery",
    "lightface.images": "Photo PhotoSource find_photos load_photo save_image",
    "lightface.matching": "DecisionBands",
    "lightface.pipeline.cluster": "FaceGroups GroupedFace cluster_faces enroll_groups",
    "lightface.pipeline.enroll": "EnrolledPhoto enroll_people enroll_photos",
    "lightface.pipeline.face_pipeline": "FacePipeline PhotoFaces RefusedFace build_pipeline load_pipeline",
    "lightface.pipeline.find": "FoundFace PersonSearch",
    "lightface.pipeline.spec": "FaceGates PipelineSpec",
    "lightface.pipeline.identify": "IdentifiedFace IdentifiedPhoto identify_photos",
    "lightface.pipeline.thresholds": "resolve_bands resolve_threshold",
    "lightface.pipeline.verify": "VerifiedPair verify_pairs verify_photos",
    "lightface.records": "AlignedFace DetectedFace FaceEmbedding FaceSelection Match Status Verification",
    "lightface.tables": "FaceRow read_faces write_faces",
    "lightface.words": "decode_text",
}
_MODULE_OF_NAME = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names.split()}

__all__ = ["__version__", *_MODULE_OF_NAME]

if TYPE_CHECKING:
    from lightface.api import calibrate as calibrate
    from lightface.api import cluster as cluster
    from lightface.api import default_pipeline as default_pipeline
    from lightface.api import detect as detect
    from lightface.api import embed as embed
    from lightface.api import embed_folder as embed_folder
    from lightface.api import enroll as enroll
    from lightface.api import evaluate as evaluate
    from lightface.api import find as find
    from lightface.api import identify as identify
    from lightface.api import verify as verify
    from lightface.batch import EmbedProgress as EmbedProgress
    from lightface.batch import EmbedSummary as EmbedSummary
    from lightface.drawing import draw_faces as draw_faces
    from lightface.errors import CheckpointError as CheckpointError
    from lightface.errors import ChecksumError as ChecksumError
    from lightface.errors import ClusterError as ClusterError
    from lightface.errors import ConfigError as ConfigError
    from lightface.errors import DeviceError as DeviceError
    from lightface.errors import DuplicateFaceError as DuplicateFaceError
    from lightface.errors import EvaluationError as EvaluationError
    from lightface.errors import FaceNotFoundError as FaceNotFoundError
    from lightface.errors import FaceTooSmallError as FaceTooSmallError
    from lightface.errors import GalleryError as GalleryError
    from lightface.errors import IdentityConflictError as IdentityConflictError
    from lightface.errors import ImageError as ImageError
    from lightface.errors import ImageTooLargeError as ImageTooLargeError
    from lightface.errors import LightfaceError as LightfaceError
    from lightface.errors import LockedGalleryError as LockedGalleryError
    from lightface.errors import LowDetectionScoreError as LowDetectionScoreError
    from lightface.errors import LowQualityError as LowQualityError
    from lightface.errors import MetadataError as MetadataError
    from lightface.errors import MissingFileError as MissingFileError
    from lightface.errors import ModelMismatchError as ModelMismatchError
    from lightface.errors import MultipleFacesError as MultipleFacesError
    from lightface.errors import OutputError as OutputError
    from lightface.errors import PersonNotFoundError as PersonNotFoundError
    from lightface.errors import PhotoError as PhotoError
    from lightface.errors import RemoteError as RemoteError
    from lightface.errors import TableError as TableError
    from lightface.errors import ThresholdError as ThresholdError
    from lightface.errors import TrainingError as TrainingError
    from lightface.errors import WeightsError as WeightsError
    from lightface.evaluation.calibrate import Proposal as Proposal
    from lightface.evaluation.evaluate import Evaluation as Evaluation
    from lightface.gallery import Gallery as Gallery
    from lightface.gallery import KeyFile as KeyFile
    from lightface.gallery import Passphrase as Passphrase
    from lightface.gallery import Person as Person
    from lightface.gallery import default_gallery_path as default_gallery_path
    from lightface.gallery import open_gallery as open_gallery
    from lightface.images import Photo as Photo
    from lightface.images import PhotoSource as PhotoSource
    from lightface.images import find_photos as find_photos
    from lightface.images import load_photo as load_photo
    from lightface.images import save_image as save_image
    from lightface.matching import DecisionBands as DecisionBands
    from lightface.pipeline.cluster import FaceGroups as FaceGroups
    from lightface.pipeline.cluster import GroupedFace as GroupedFace
    from lightface.pipeline.cluster import cluster_faces as cluster_faces
    from lightface.pipeline.cluster import enroll_groups as enroll_groups
    from lightface.pipeline.enroll import EnrolledPhoto as EnrolledPhoto
    from lightface.pipeline.enroll import enroll_people as enroll_people
    from lightface.pipeline.enroll import enroll_photos as enroll_photos
    from lightface.pipeline.face_pipeline import FacePipeline as FacePipeline
    from lightface.pipeline.face_pipeline import PhotoFaces as PhotoFaces
    from lightface.pipeline.face_pipeline import RefusedFace as RefusedFace
    from lightface.pipeline.face_pipeline import build_pipeline as build_pipeline
    from lightface.pipeline.face_pipeline import load_pipeline as load_pipeline
    from lightface.pipeline.find import FoundFace as FoundFace
    from lightface.pipeline.find import PersonSearch as PersonSearch
    from lightface.pipeline.identify import IdentifiedFace as IdentifiedFace
    from lightface.pipeline.identify import IdentifiedPhoto as IdentifiedPhoto
    from lightface.pipeline.identify import identify_photos as identify_photos
    from lightface.pipeline.spec import FaceGates as FaceGates
    from lightface.pipeline.spec import PipelineSpec as PipelineSpec
    from lightface.pipeline.thresholds import resolve_bands as resolve_bands
    from lightface.pipeline.thresholds import resolve_threshold as resolve_threshold
    from lightface.pipeline.verify import VerifiedPair as VerifiedPair
    from lightface.pipeline.verify import verify_pairs as verify_pairs
    from lightface.pipeline.verify import verify_photos as verify_photos
    from lightface.records import AlignedFace as AlignedFace
    from lightface.records import DetectedFace as DetectedFace
    from lightface.records import FaceEmbedding as FaceEmbedding
    from lightface.records import FaceSelection as FaceSelection
    from lightface.records import Match as Match
    from lightface.records import Status as Status
    from lightface.records import Verification as Verification
    from lightface.tables import FaceRow as FaceRow
    from lightface.tables import read_faces as read_faces
    from lightface.tables import write_faces as write_faces
    from lightface.words import decode_text as decode_text
else:

    def __getattr__(name: str) -> object:
        """A public name, from the module that has it."""
        if name not in _MODULE_OF_NAME:
            raise AttributeError(f"module 'lightface' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_MODULE_OF_NAME[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
