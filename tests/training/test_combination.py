from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from lightface.errors import TrainingError
from lightface.training.objectives.classification import ArcFaceSettings, CosFaceSettings, SoftmaxSettings
from lightface.training.objectives.combination import ObjectiveSettings, build_objectives
from lightface.training.objectives.distillation import CosineSettings, RelationalSettings
from lightface.training.objectives.objective import Targets

ALL = ObjectiveSettings(
    SoftmaxSettings(weight=0.5),
    CosFaceSettings(weight=0.1),
    ArcFaceSettings(weight=0.2),
    CosineSettings(),
    RelationalSettings(weight=6.0),
)


def test_all_of_them_in_order() -> None:
    objectives = build_objectives(ALL, dropout=0.5, classes=9, teacher_size=16)
    assert objectives.names == ("softmax", "cosface", "arcface", "cosine", "relational")
    assert objectives.weights.tolist() == pytest.approx([0.5, 0.1, 0.2, 1.0, 6.0])
    targets = Targets(torch.arange(8), F.normalize(torch.randn(8, 16)))
    losses = objectives(torch.randn(8, 256), targets)
    assert losses.shape == (5,)
    assert losses.isfinite().all()
    assert "weights" not in objectives.state_dict()


def test_dropout_stands_before_layers_only() -> None:
    objectives = build_objectives(ALL, dropout=0.9, classes=9, teacher_size=16).train()
    embeddings, targets = torch.randn(8, 256), Targets(torch.arange(8), F.normalize(torch.randn(8, 16)))
    first, second = objectives(embeddings, targets), objectives(embeddings, targets)
    assert (first != second).tolist() == [True, True, True, True, False]
    objectives.eval()
    assert torch.equal(objectives(embeddings, targets), objectives(embeddings, targets))


def test_softmax_where_nothing_is_named() -> None:
    assert ObjectiveSettings().softmax == SoftmaxSettings()
    assert ObjectiveSettings().needs_identities and not ObjectiveSettings().needs_teacher
    distilled = ObjectiveSettings(cosine=CosineSettings())
    assert distilled.softmax is None
    assert distilled.needs_teacher and not distilled.needs_identities


def test_expected_first_losses() -> None:
    assert set(ALL.expected_first_losses(10)) == {"softmax", "cosface", "arcface"}


def test_distillation_without_a_teacher() -> None:
    with pytest.raises(TrainingError, match="has no teacher; name its embeddings as 'teachers'"):
        build_objectives(ALL, dropout=0, classes=9, teacher_size=None)


def test_on_a_gpu_nothing_waits_for_the_device() -> None:
    with FakeTensorMode(), torch.device("cuda"):
        objectives = build_objectives(ALL, dropout=0.5, classes=9, teacher_size=16)
        targets = Targets(torch.zeros(8, dtype=torch.int64), torch.empty(8, 16))
        assert objectives(torch.empty(8, 256), targets).device.type == "cuda"
