"""LightCNN forward: ours in each precision against the same network in plain torch, ONNX Runtime and OpenVINO.

Ours is `Embedder.embed`, from aligned faces to unit rows; the others are given the finished float32 input.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Context, Row, race
from benchmarks.plain_lightcnn import PLAIN_NETWORKS
from lightface.alignment import align_face
from lightface.detection import MtcnnDetector
from lightface.embedding import Embedder, to_network_input
from lightface.errors import LightfaceError
from lightface.images import load_photo
from lightface.models.lightcnn import build_lightcnn
from lightface.models.weights import LoadedModel, load_model
from lightface.records import AlignedFace, FloatArray

Call = Callable[[], FloatArray]


def measure(context: Context) -> list[Row]:
    faces = _find_faces(context.photos, count=2 if context.quick else 32)
    rows: list[Row] = []
    for name in ["lightcnn9"] if context.quick else PLAIN_NETWORKS:
        model = _load(name)
        for threads in sorted({1} if context.quick else {1, context.threads}):
            for batch in [2] if context.quick else [1, len(faces)]:
                torch.set_num_threads(threads)
                rows += _Case(model, faces[:batch], threads, context.work / f"{name}.onnx").measure(context)
    torch.set_num_threads(context.threads)
    return rows


@dataclass(frozen=True, slots=True)
class _Case:
    model: LoadedModel
    faces: list[AlignedFace]
    threads: int
    onnx: Path  # exported when it is first needed

    def measure(self, context: Context) -> list[Row]:
        contenders: dict[str, Callable[[], Call]] = {
            "lightface bf16": lambda: self._ours("bf16"),
            "lightface fp32": lambda: self._ours("fp32"),
            "plain torch fp32": self._plain,
            "ONNX Runtime fp32": self._onnxruntime,
            "OpenVINO fp32": lambda: self._openvino("f32"),
            "OpenVINO bf16": lambda: self._openvino("bf16"),
        }
        made: dict[str, FloatArray] = {}

        def keep_output(name: str) -> Callable[[], object]:
            call = contenders[name]()
            made[name] = call()
            return call

        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        rows = race(
            {name: lambda name=name: keep_output(name) for name in contenders},  # type: ignore[misc]
            part="embedding",
            case=f"{self.model.record.architecture}, {threads}, batch {len(self.faces)}",
            per="face",
            ours=f"lightface {Embedder(self.model, device='cpu').precision}",
            context=context,
            units=len(self.faces),
        )
        exact = self._plain()()
        return [
            replace(row, extra={"cosine": _least_cosine(made[row.contender], exact)}) if row.contender in made else row
            for row in rows
        ]

    def _ours(self, precision: str) -> Call:
        embedder = Embedder(self.model, device="cpu", precision=precision, flip=False)
        return lambda: embedder.embed(self.faces)

    def _plain(self) -> Call:
        network = PLAIN_NETWORKS[self.model.record.architecture]().eval()
        network.load_state_dict(self.model.network.state_dict())
        images = torch.from_numpy(self._input())

        @torch.inference_mode()
        def forward() -> FloatArray:
            rows: FloatArray = network(images).numpy()
            return rows

        return forward

    def _onnxruntime(self) -> Call:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        session = onnxruntime.InferenceSession(self._export(), options, providers=["CPUExecutionProvider"])
        images = self._input()
        return lambda: np.asarray(session.run(None, {"images": images})[0])

    def _openvino(self, precision: str) -> Call:
        # Its import reports its use over the network; without this package it cannot.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        import openvino

        settings = {"INFERENCE_NUM_THREADS": self.threads, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1}
        core = openvino.Core()
        request = core.compile_model(core.read_model(self._export()), "CPU", settings).create_infer_request()
        images = self._input()
        return lambda: np.array(request.infer({0: images}, share_inputs=True)[0])

    def _input(self) -> FloatArray:
        return to_network_input(self.faces, self.model.record.contract)

    def _export(self) -> Path:
        if not self.onnx.exists():
            with warnings.catch_warnings(action="ignore"):  # the newer exporter needs one more package
                torch.onnx.export(
                    self.model.network,
                    (torch.from_numpy(self._input()),),
                    self.onnx,
                    dynamo=False,
                    input_names=["images"],
                    dynamic_axes={"images": {0: "faces"}},
                )
        return self.onnx


def _load(name: str) -> LoadedModel:
    """The shipped weights; for another network of the family fresh ones, which are as fast."""
    model = load_model()
    if model.record.architecture == name:
        return model
    torch.manual_seed(0)
    return LoadedModel(replace(model.record, name=name, architecture=name), build_lightcnn(name).eval())


def _find_faces(photos: list[Path], *, count: int) -> list[AlignedFace]:
    """Aligned faces of the photographs, in turn again where there are too few."""
    detector = MtcnnDetector()
    found: list[AlignedFace] = []
    for path in photos:
        try:
            image_rgb = load_photo(path).image_rgb
            found += [align_face(image_rgb, face) for face in detector.detect(image_rgb)]
        except LightfaceError:
            continue
        if len(found) >= count:
            break
    return list(islice(cycle(found), count))


def _least_cosine(rows: FloatArray, exact: FloatArray) -> float:
    products = (rows.astype(np.float64) * exact).sum(1)
    return float((products / np.linalg.norm(rows, axis=1) / np.linalg.norm(exact, axis=1)).min())
