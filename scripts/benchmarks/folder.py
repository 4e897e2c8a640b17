"""A folder of photographs into one Parquet file: ours against a plain facenet-pytorch loop and against dlib.

The peers do what their READMEs show: decode with Pillow, detect, embed, photograph by photograph. facenet-pytorch's
embedding network has random weights here, which cost the same time. They embed each face once; ours embeds it and its
mirror image by default, and once where it says so.
"""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.figures import Context, Row, race
from lightface.batch import embed_folder
from lightface.pipeline import load_pipeline

Run = Callable[[], int]  # embeds all photographs; how many faces


_LARGE_PX = 4000  # the longer side of what telephones take: 12 megapixels


def measure(context: Context) -> list[Row]:
    few = context.photos[:: max(1, len(context.photos) // 8)][:8]
    photos = few if context.quick else context.photos
    large = _enlarge(few[:2] if context.quick else few, context.work)
    return [
        *_measure_photographs(photos, f"{len(photos)} photographs", context),
        *_measure_photographs(large, f"{len(large)} photographs of {_LARGE_PX} px", context),
    ]


def _measure_photographs(photos: list[Path], case: str, context: Context) -> list[Row]:
    outputs = (context.work / f"{number}.parquet" for number in itertools.count())
    faces: dict[str, int] = {}

    def counted(name: str, build: Callable[[], Run]) -> Callable[[], Callable[[], object]]:
        def prepare() -> Callable[[], object]:
            run = build()

            def call() -> None:
                faces[name] = run()

            return call

        return prepare

    builders: dict[str, Callable[[], Run]] = {
        "lightface": lambda: _ours(photos, outputs, workers=None),
        "lightface, each face once": lambda: _ours(photos, outputs, workers=None, flip=False),
        "lightface, a process a core": lambda: _ours(photos, outputs, workers=context.threads),
        "lightface, one thread": lambda: _one_thread(_ours(photos, outputs, workers=1), context.threads),
        "lightface embed (command)": lambda: _our_command(photos, outputs),
        "facenet-pytorch loop": lambda: _facenet_pytorch(photos, outputs),
        "dlib": lambda: _dlib(photos, outputs, upsample=0),
        "dlib, upsampled once": lambda: _dlib(photos, outputs, upsample=1),
    }
    rows = race(
        {name: counted(name, build) for name, build in builders.items()},
        part="folder",
        case=case,
        per="photo",
        ours="lightface",
        context=replace(context, repetitions=min(3, context.repetitions)),
        units=len(photos),
        warm_up=0,  # the race has called each once
    )
    return [replace(row, extra={"faces": faces[row.contender]}) if row.contender in faces else row for row in rows]


def _enlarge(photos: list[Path], work: Path) -> list[Path]:
    folder = work / "large"
    folder.mkdir()
    enlarged: list[Path] = []
    for path in photos:
        photo = Image.open(path).convert("RGB")
        ratio = _LARGE_PX / max(photo.size)
        enlarged.append(folder / f"{len(enlarged)}.jpg")
        photo.resize((round(photo.width * ratio), round(photo.height * ratio))).save(enlarged[-1], quality=92)
    return enlarged


def _ours(photos: list[Path], outputs: Any, *, workers: int | None, flip: bool | None = None) -> Run:
    pipeline = load_pipeline(device="cpu", flip=flip)
    return lambda: embed_folder(pipeline, photos, next(outputs), workers=workers).faces


def _one_thread(run: Run, threads: int) -> Run:
    import torch

    def call() -> int:
        torch.set_num_threads(1)
        try:
            return run()
        finally:
            torch.set_num_threads(threads)

    return call


def _our_command(photos: list[Path], outputs: Any) -> Run:
    def call() -> int:
        output: Path = next(outputs)
        program = [sys.executable, "-c", "from lightface.cli.main import run; run()"]
        command = [*program, "embed", "-", "--device", "cpu", "-q", "-o", str(output)]
        subprocess.run(command, input="\n".join(map(str, photos)), text=True, check=True, capture_output=True)
        embeddings = pq.read_table(output).column("embedding")
        return int(embeddings.is_valid().to_numpy().sum())

    return call


def _facenet_pytorch(photos: list[Path], outputs: Any) -> Run:
    import torch
    from facenet_pytorch import MTCNN, InceptionResnetV1

    detector, network = MTCNN(), InceptionResnetV1(pretrained=None).eval()

    @torch.no_grad()
    def call() -> int:
        found = []
        for path in photos:
            crop = detector(Image.open(path).convert("RGB"))
            if crop is not None:
                found.append((path, network(crop.unsqueeze(0))[0].numpy()))
        return _write(found, next(outputs))

    return call


def _dlib(photos: list[Path], outputs: Any, *, upsample: int) -> Run:
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")  # which cannot be imported without pkg_resources
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(name="face_recognition_models")
    models = Path(spec.submodule_search_locations[0]) / "models"
    detector = dlib.get_frontal_face_detector()
    landmarks = dlib.shape_predictor(str(models / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(str(models / "dlib_face_recognition_resnet_model_v1.dat"))

    def call() -> int:
        found = []
        for path in photos:
            image = np.asarray(Image.open(path).convert("RGB"))
            for box in detector(image, upsample):
                found.append((path, np.array(network.compute_face_descriptor(image, landmarks(image, box)))))
        return _write(found, next(outputs))

    return call


def _write(found: list[tuple[Path, Any]], output: Path) -> int:
    table = {
        "image_path": [str(path) for path, _ in found],
        "embedding": [np.asarray(vector, np.float32) for _, vector in found],
    }
    pq.write_table(pa.table(table), output)
    return len(found)
