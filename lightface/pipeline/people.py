"""How far a collection has its names: who is known, who is still to be named, and what to look at next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightface.pipeline.cluster import FaceGroups, GroupedFace
from lightface.records import Status, to_plain
from lightface.tables import FaceRow


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Somebody whom the gallery knows on these photographs."""

    person_id: int
    person_name: str
    faces: int
    photographs: int


@dataclass(frozen=True, slots=True)
class UnnamedGroup:
    """A group of like faces whom nobody has named."""

    number: int
    faces: int
    photographs: int
    example: Path  # a photograph with its most typical face


@dataclass(frozen=True, slots=True)
class PeopleOverview:
    """The state of a collection, in numbers of faces and photographs."""

    model_id: str
    photographs: int
    known: tuple[KnownPerson, ...]  # who is on most photographs first
    groups: tuple[UnnamedGroup, ...]  # the largest first: what to look at next
    alone: int  # faces that are neither known nor in a group
    refused: dict[str, int]  # faces that were found and are too poor to be compared, by reason
    without_face: dict[str, int]  # photographs that gave no face, by reason

    def to_dict(self) -> dict[str, Any]:
        """The fields, for `json.dumps`."""
        return {
            "model_id": self.model_id,
            "photographs": self.photographs,
            "known": to_plain(self.known),
            "unknown": {
                "faces": self.alone + sum(group.faces for group in self.groups),
                "groups": to_plain(self.groups),
                "in_no_group": self.alone,
            },
            "refused": self.refused,
            "without_face": self.without_face,
        }


def describe_people(rows: Sequence[FaceRow], groups: FaceGroups) -> PeopleOverview:
    """The overview of a face table of which `groups` were made by `cluster_faces` with a gallery."""
    known = [
        KnownPerson(match.person_id, match.person_name, len(faces), _count_photographs(faces))
        for faces in groups.known
        if (match := faces[0].match) is not None
    ]
    unnamed = [
        UnnamedGroup(group[0].cluster or 0, len(group), _count_photographs(group), group[0].face.image_path)
        for group in groups.groups
    ]
    return PeopleOverview(
        model_id=groups.model_id,
        photographs=len({str(row.image_path) for row in rows}),
        known=tuple(sorted(known, key=lambda one: -one.photographs)),
        groups=tuple(unnamed),
        alone=len(groups.alone),
        refused=_count_reasons(rows, Status.REJECTED),
        without_face=_count_reasons(rows, Status.ERROR),
    )


def _count_photographs(faces: Sequence[GroupedFace]) -> int:
    return len({str(one.face.image_path) for one in faces})


def _count_reasons(rows: Sequence[FaceRow], status: Status) -> dict[str, int]:
    return dict(Counter(row.error or "" for row in rows if row.status is status).most_common())
