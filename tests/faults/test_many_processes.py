"""Eight processes enroll into one gallery while four others look people up in it: none is lost, none is locked out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faces_of_colour import paint_person
from jobs import check_soundness
from soaking import Soak
from spawning import Spawner

from lightface.gallery import open_gallery

pytestmark = pytest.mark.slow

WRITERS, READERS, PICTURES = 8, 4, 6


def test_eight_enroll_while_four_identify(spawner: Spawner, tmp_path: Path, soak: Soak) -> None:
    shared = paint_person(tmp_path / "photos" / "everybody.png", 25, 1)
    for person in range(1, WRITERS + 1):
        for picture in range(1, PICTURES + 1):
            paint_person(tmp_path / "photos" / f"person {person}" / f"{picture}.png", person, picture)
    lost = 0
    rounds = soak.times(1, share=0.2)
    for number in range(rounds):
        lost += len(find_losses(spawner, tmp_path / "photos", shared, tmp_path / f"{number}"))
    enrolments = rounds * WRITERS * (PICTURES + 1)
    where = f"{WRITERS} processes in one gallery, {READERS} more identify"
    soak.record("enrolled at the same time", where, injected=enrolments, wrong=lost)
    assert not lost


def find_losses(spawner: Spawner, photos: Path, shared: Path, folder: Path) -> list[str]:
    """What is missing, or was told wrongly, of one round in an empty folder."""
    folder.mkdir()
    gallery = folder / "people.sqlite"
    # Somebody is there, so that there is a gallery to look in. All want `shared`, which one of them can have.
    paint_person(folder / "first.png", 20, 1)
    assert spawner.run("enroll", "First", folder / "first.png", "--gallery", gallery).status == 0
    writers = [
        ("enroll", f"Person {person}", photos / f"person {person}", shared, "--gallery", gallery, "--json")
        for person in range(1, WRITERS + 1)
    ]
    readers = [("identify", photos, "--gallery", gallery, "--threshold", "0.4", "--json")] * READERS
    outcomes = spawner.run_together([*writers, *readers])
    wrong = []
    had_shared = 0
    for outcome in outcomes[:WRITERS]:
        rows = json.loads(outcome.stdout) if outcome.status == 0 else []
        words = [row["error"] or row["status"] for row in rows]
        had_shared += words[-1:] == ["enrolled"]
        if words[:-1] != ["enrolled"] * PICTURES or words[-1] not in ("enrolled", "identity_conflict"):
            wrong.append(f"enroll: {outcome.status} {words} {outcome.stderr}")
    for outcome in outcomes[WRITERS:]:
        if outcome.status not in (0, 1) or "lock" in outcome.stderr or not json.loads(outcome.stdout)["faces"]:
            wrong.append(f"identify: {outcome.status} {outcome.stderr}")
    check_soundness(folder)
    with open_gallery(gallery) as opened:
        counts = {person.name: len(opened.samples(person.id)) for person in opened.people()}
    expected = {"First": 1, **{f"Person {person}": PICTURES for person in range(1, WRITERS + 1)}}
    if sum(counts.values()) != sum(expected.values()) + 1 or had_shared != 1:
        wrong.append(f"{counts}, {had_shared} have the picture that all wanted")
    if any(counts.get(name, 0) not in (count, count + 1) for name, count in expected.items()):
        wrong.append(f"{counts}")
    return wrong
