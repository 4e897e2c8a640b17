"""The weighted sum of a recipe's objectives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightface.errors import ConfigError, TrainingError
from lightface.frame import EMBEDDING_SIZE
from lightface.training.objectives.classification import (
    ArcFace,
    ArcFaceSettings,
    CosFace,
    CosFaceSettings,
    Softmax,
    SoftmaxSettings,
)
from lightface.training.objectives.distillation import (
    CosineDistillation,
    CosineSettings,
    RelationalDistillation,
    RelationalSettings,
)
from lightface.training.objectives.objective import Objective, Targets

CLASSIFYING: dict[str, type[SoftmaxSettings] | type[CosFaceSettings] | type[ArcFaceSettings]] = {
    "softmax": SoftmaxSettings,
    "cosface": CosFaceSettings,
    "arcface": ArcFaceSettings,
}


@dataclass(frozen=True, slots=True)
class ObjectiveSettings:
    """What is minimised: the weighted sum of those that have a table, and softmax where none has."""

    softmax: SoftmaxSettings | None = None
    cosface: CosFaceSettings | None = None
    arcface: ArcFaceSettings | None = None
    cosine: CosineSettings | None = None
    relational: RelationalSettings | None = None

    def __post_init__(self) -> None:
        if not (self.needs_identities or self.needs_teacher):
            object.__setattr__(self, "softmax", SoftmaxSettings())
        for name in ("softmax", "cosface", "arcface", "cosine", "relational"):
            settings = getattr(self, name)
            if settings is not None and not settings.weight > 0:
                raise ConfigError(f"the weight of {name} is {settings.weight}; it must be above 0")

    @property
    def needs_identities(self) -> bool:
        """Whether something classifies people."""
        return any(settings is not None for settings in (self.softmax, self.cosface, self.arcface))

    @property
    def needs_teacher(self) -> bool:
        """Whether something is distilled, which crops of unknown people serve too."""
        return self.cosine is not None or self.relational is not None

    def expected_first_losses(self, classes: int) -> dict[str, float]:
        """What the classifying objectives say of a network that knows nothing."""
        settings = {"softmax": self.softmax, "cosface": self.cosface, "arcface": self.arcface}
        return {name: chosen.expected_first_loss(classes) for name, chosen in settings.items() if chosen is not None}


class CombinedObjective(nn.Module):
    """Several objectives on the same embeddings.

    `forward` returns the unweighted loss of each, (K,), in the order of `names`; `weights` (K,) weighs them.
    """

    weights: Tensor

    def __init__(self, objectives: dict[str, tuple[float, Objective]], *, dropout: float) -> None:
        super().__init__()
        self.names = tuple(objectives)
        self.dropout = nn.Dropout(dropout)
        self.objectives = nn.ModuleDict({name: objective for name, (_, objective) in objectives.items()})
        weights = torch.tensor([weight for weight, _ in objectives.values()])
        self.register_buffer("weights", weights, persistent=False)  # the recipe's, not the checkpoint's

    def forward(self, embeddings: Tensor, targets: Targets) -> Tensor:
        dropped = self.dropout(embeddings)
        losses = [
            objective(dropped if objective.drops_out else embeddings, targets) for objective in self.objectives.values()
        ]
        return torch.stack(losses)

    def fit(self, embeddings: Tensor, targets: Targets) -> None:
        """Suit what stands on the network to the embeddings that it gives already."""
        for objective in self.objectives.values():
            assert isinstance(objective, Objective)
            objective.fit(embeddings, targets)


def build_objectives(
    recipe: ObjectiveSettings, *, dropout: float, classes: int, teacher_size: int | None
) -> CombinedObjective:
    """The objectives of a recipe, with fresh layers. TrainingError when one distils and there is no teacher."""
    sizes = {"embedding_size": EMBEDDING_SIZE, "classes": classes}
    found: dict[str, tuple[float, Objective]] = {}
    if recipe.softmax is not None:
        found["softmax"] = (recipe.softmax.weight, Softmax(recipe.softmax, **sizes))
    if recipe.cosface is not None:
        found["cosface"] = (recipe.cosface.weight, CosFace(recipe.cosface, **sizes))
    if recipe.arcface is not None:
        found["arcface"] = (recipe.arcface.weight, ArcFace(recipe.arcface, **sizes))
    if recipe.cosine is not None or recipe.relational is not None:
        if teacher_size is None:
            raise TrainingError("the recipe distils, but has no teacher; name its embeddings as 'teachers' in [data]")
        if recipe.cosine is not None:
            head = CosineDistillation(recipe.cosine, embedding_size=EMBEDDING_SIZE, teacher_size=teacher_size)
            found["cosine"] = (recipe.cosine.weight, head)
        if recipe.relational is not None:
            found["relational"] = (recipe.relational.weight, RelationalDistillation(recipe.relational))
    return CombinedObjective(found, dropout=dropout)
