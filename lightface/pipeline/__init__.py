"""The three jobs and their kin as library calls: photographs in, names out.

pipeline = load_pipeline()
with open_gallery(path, model_id=pipeline.model_id, create=True) as gallery:
    enroll_photos(pipeline, gallery, "Grace Hopper", [Path("hopper.jpg")])
    bands = resolve_bands(pipeline.record, gallery=gallery)
    identify_photos(pipeline, gallery, [Path("party.jpg")], bands=bands)
"""

from lightface.models.registry import find_record
from lightface.pipeline.enroll import EnrolledPhoto, UnlikeSample, enroll_people, enroll_photos, find_people
from lightface.pipeline.face_pipeline import FacePipeline, PhotoFaces, RefusedFace, build_pipeline, load_pipeline
from lightface.pipeline.identify import IdentifiedFace, IdentifiedPhoto, identify_photos
from lightface.pipeline.reembed import NamedSample, ReembedReport, Trouble, UnusableSample, reembed_gallery
from lightface.pipeline.spec import FaceGates, PipelineSpec
from lightface.pipeline.thresholds import describe_basis, resolve_bands, resolve_threshold
from lightface.pipeline.verify import VerifiedPair, verify_pairs, verify_photos

__all__ = [
    "EnrolledPhoto",
    "FaceGates",
    "FacePipeline",
    "IdentifiedFace",
    "IdentifiedPhoto",
    "NamedSample",
    "PhotoFaces",
    "PipelineSpec",
    "ReembedReport",
    "RefusedFace",
    "Trouble",
    "UnlikeSample",
    "UnusableSample",
    "VerifiedPair",
    "build_pipeline",
    "describe_basis",
    "enroll_people",
    "enroll_photos",
    "find_people",
    "find_record",
    "identify_photos",
    "load_pipeline",
    "reembed_gallery",
    "resolve_bands",
    "resolve_threshold",
    "verify_pairs",
    "verify_photos",
]
