"""The pages of an audit and of groups as a browser shows them, and how faces are cut out for them."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from browser import Element, render
from faces_of_colour import HOSTILE_NAME, make_colour_pipeline, paint_people
from PIL import Image

from lightface.batch import embed_folder
from lightface.gallery import audit_gallery, open_gallery
from lightface.images import decode_photo, hash_file
from lightface.pages import render_audit, render_groups
from lightface.pages.document import PlacedFace, show_faces
from lightface.pipeline import enroll_photos, find_people
from lightface.pipeline.cluster import cluster_faces
from lightface.records import FaceSelection
from lightface.tables import read_faces

_COUNT_IMAGES = "<script>document.body.dataset.sizes = [...document.images].map(i => i.naturalWidth)</script></body>"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = paint_people(tmp_path_factory.mktemp("sheets"), 4, 4)
    (folder / "p004").rename(folder / HOSTILE_NAME)
    return folder


def show(html: str, folder: Path) -> Element:
    """The page in a browser, with a script of the test's own that the page's policy would not let run."""
    start, end = html.index("<meta http-equiv"), html.index("<meta name")
    page = folder / "page.html"
    page.write_text(html[:start] + html[end:].replace("</body>", _COUNT_IMAGES), encoding="utf-8")
    return render(page, folder / "profile")


def sizes(page: Element) -> list[str]:
    return page.find("body").attributes["data-sizes"].split(",")


def test_the_page_of_an_audit(photos: Path, tmp_path: Path) -> None:
    pipeline = make_colour_pipeline()
    with open_gallery(tmp_path / "g.sqlite", model_id=pipeline.model_id, create=True) as gallery:
        for name, paths in find_people(photos).items():
            enroll_photos(pipeline, gallery, name, paths, selection=FaceSelection.LARGEST)
        stray = gallery.samples(HOSTILE_NAME)[0]
        gallery.move_sample(stray.id or 0, "p001")
        audit = audit_gallery(gallery, threshold=0.4)
    html = render_audit(audit)
    assert "<img src=x" not in html and "script-src" not in html and "default-src 'none'" in html
    page = show(html, tmp_path)
    (caption,) = [figure.text for figure in page.find("div", data_sheet="mislabelled").find_all("figure")]
    assert caption.startswith(f"p001? {audit.mislabelled[0].own_similarity:.3f} · {HOSTILE_NAME}? ")
    assert page.find("div", data_card="Likely mislabelled").find("b").text == "1"
    assert sizes(page) == ["140"] * (3 + len(audit.low_quality))
    assert json.loads(page.find("script", id="audit").text)["mislabelled"][0]["sample"]["id"] == stray.id


def test_the_page_of_groups(photos: Path, tmp_path: Path) -> None:
    embed_folder(make_colour_pipeline(), [photos], tmp_path / "faces.npz")
    groups = cluster_faces(read_faces(tmp_path / "faces.npz"), threshold=0.5)
    html = render_groups(groups, [HOSTILE_NAME, None, None, None])
    assert "<img src=x" not in html
    page = show(html, tmp_path)
    assert [heading.text for heading in page.find_all("h2")] == [
        *(f"{HOSTILE_NAME} 4 faces", "Group 2 4 faces", "Group 3 4 faces", "Group 4 4 faces")
    ]
    assert sizes(page) == ["140"] * 16


def test_a_face_is_cut_with_its_surroundings_and_black_beyond_the_photograph(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, :, 2] = 255
    pixels[20:60, 0:40] = 255, 0, 0
    Image.fromarray(pixels).save(path)
    face = PlacedFace(path, (0.0, 20.0, 40.0, 60.0))
    uri = show_faces([face])[face]
    shown = decode_photo(base64.b64decode(uri.partition(",")[2]), name="cut").astype(int)
    assert shown.shape == (140, 140, 3)
    assert shown[70, 70, 0] > 240 and shown[70, 70, 2] < 40  # the face in the middle
    assert shown[70, 4].max() < 40  # left of the photograph
    assert shown[70, 136, 2] > 200  # its surroundings


def test_a_photograph_that_was_changed_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (50, 50), (9, 9, 9)).save(path)
    known, other = PlacedFace(path, None, hash_file(path)), PlacedFace(path, None, "0" * 64)
    gone = PlacedFace(tmp_path / "gone.png", None)
    outside = PlacedFace(path, (500.0, 500.0, 600.0, 600.0))
    assert set(show_faces([known, other, gone, outside])) == {known, outside}
