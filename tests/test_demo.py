"""The demo meets what an earlier demo has left; set-up knows the extras that it is asked for."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lightface.gallery import NewSample, open_gallery
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights


@pytest.fixture
def tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for needed in ("matplotlib", "skimage"):
        pytest.importorskip(needed, reason="needs the extra 'demo'")
    spec = importlib.util.spec_from_file_location("demo_tour", Path(__file__).parents[1] / "scripts" / "demo_tour.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo_tour", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "GALLERY", tmp_path / "gallery.sqlite")
    return module


@pytest.mark.parametrize("is_older", [True, False])
def test_a_gallery_of_older_weights_is_embedded_again(
    tour: ModuleType, monkeypatch: pytest.MonkeyPatch, is_older: bool
) -> None:
    model_id = "older" if is_older else find_weights(DEFAULT_WEIGHTS).model_id
    with open_gallery(tour.GALLERY, create=True) as gallery:
        vector = np.eye(1, 256, dtype=np.float32)[0]
        gallery.enroll("Ada", [NewSample(vector, model_id, "/photos/1.jpg", "0" * 64)])
    commands: list[tuple[object, ...]] = []
    monkeypatch.setattr(tour, "lightface", lambda *words: commands.append(words))
    tour.bring_gallery_up_to_date()
    assert commands == ([("gallery", "reembed", "--drop-unusable")] if is_older else [])


def test_a_first_run_has_no_gallery_to_look_at(tour: ModuleType) -> None:
    tour.bring_gallery_up_to_date()
    assert not tour.GALLERY.exists()


def test_the_extras_that_set_up_is_asked_for_exist() -> None:
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    scripts = [path.read_text(encoding="utf-8") for path in (root / "scripts").iterdir() if path.is_file()]
    documents = [path.read_text(encoding="utf-8") for path in (root / "README.md", *(root / "docs").glob("*.md"))]
    asked = {name for text in scripts + documents for name in re.findall(r"scripts/setup ([a-z]+)", text)}
    (usual,) = re.findall(r'"\.\[([a-z,]+),\$extra\]"', (root / "scripts" / "setup").read_text(encoding="utf-8"))
    assert asked >= {"dev", "bench", "postgres", "ray"} and "demo" in usual.split(",")
    assert asked | {*usual.split(",")} <= extras.keys()
