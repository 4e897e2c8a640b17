"""A folder for each person, with photographs as they come -> aligned training crops."""

from __future__ import annotations

import logging
from pathlib import Path

from lightface.alignment import align_face
from lightface.crops import CropEntry
from lightface.detection import FaceDetector, MtcnnDetector, select_faces
from lightface.errors import FaceNotFoundError, PhotoError, TrainingError
from lightface.files import make_folder, read_regular, write_private
from lightface.frame import CROP_PX, TRAINING_FRAME
from lightface.images import PassedOver, find_folders, find_photos, hash_file, load_photo, save_image
from lightface.records import ByteArray, FaceSelection
from lightface.words import count_of

logger = logging.getLogger(__name__)

_FORMAT = "1"  # raise it when the same photographs would be aligned or refused differently

# The network's frame with 8 more pixels on each side.


def align_people(
    folder: Path, *, cache: Path, detector: FaceDetector | None = None
) -> tuple[list[CropEntry], list[str]]:
    """The crops of every person, aligned where that has not been done before, and the photographs refused, with why.

    `folder` holds `Alice/1.jpg` and so on; the largest face of a photograph is taken. A picture of exactly 144x144
    pixels is taken for a crop that is aligned already. `detector` is MTCNN unless given, and loaded only when needed.
    TrainingError when the folder holds no people, ImageError when it cannot be read.
    """
    people = find_folders(folder)
    if not people:
        raise TrainingError(f"{folder} has neither an index nor a folder for each person, such as {folder.name}/Alice")
    aligned = _AlignedCache(cache / f"aligned-{_FORMAT}", detector)
    entries, refused, passed_over = [], [], PassedOver()
    for person in people:
        known = aligned.made
        for photo in find_photos([person], passed_over=passed_over):
            try:
                entries.append(CropEntry(file=aligned.find(photo), member=None, identity=person.name))
            except PhotoError as error:
                refused.append(f"{person.name}/{photo.name}: {error}")
        if aligned.made > known:
            photos = f"{count_of(len(refused), 'photograph')} refused"
            logger.info("aligned %s: %s so far, %s", person.name, count_of(len(entries), "crop"), photos)
    passed_over.tell()
    if not entries:
        reason = f"the first of {len(refused)}: {refused[0]}" if refused else "there are none"
        raise TrainingError(f"no photograph in {folder} shows a face that can be used; {reason}")
    return entries, refused


class _AlignedCache:
    """Aligned crops and refusals, by the SHA-256 of the photograph: work can be stopped, and photographs added."""

    def __init__(self, folder: Path, detector: FaceDetector | None) -> None:
        self.folder = folder
        self.made = 0  # photographs that were not there yet
        self._detector = detector
        make_folder(folder)

    def find(self, photo: Path) -> Path:
        """The PNG of the aligned face; PhotoError when there is none to be had."""
        sha256 = hash_file(photo)
        crop, refusal = self.folder / f"{sha256}.png", self.folder / f"{sha256}.txt"
        if refusal.exists():
            raise PhotoError(read_regular(refusal).decode())
        if not crop.exists():
            self.made += 1
            image_rgb = load_photo(photo).image_rgb  # what cannot be read costs nothing, and may be read another day
            try:
                save_image(self._align(image_rgb), crop)
            except PhotoError as error:
                with write_private(refusal) as file:
                    file.write(str(error).encode())
                raise
        return crop

    def _align(self, image_rgb: ByteArray) -> ByteArray:
        if image_rgb.shape[:2] == (CROP_PX, CROP_PX):
            return image_rgb
        if self._detector is None:
            self._detector = MtcnnDetector()
        faces = self._detector.detect(image_rgb)
        if not faces:
            raise FaceNotFoundError("no face found that is large and clear enough; use another photograph")
        (face,) = select_faces(faces, FaceSelection.LARGEST, image_size=image_rgb.shape[:2])
        return align_face(image_rgb, face, TRAINING_FRAME).pixels
