"""Exports: everything comes back, the file is whole and private, and a damaged one says where."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import find, make_sample, make_vector

from lightface.errors import GalleryError, IdentityConflictError, LightfaceError, ModelMismatchError, OutputError
from lightface.gallery import (
    Gallery,
    ImportSummary,
    StoredSample,
    StoredThreshold,
    gallery_exists,
    import_gallery,
    open_gallery,
    places,
)
from lightface.gallery.store import GalleryStore
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights
from lightface.records import FloatArray


def contents(gallery: Gallery) -> list[object]:
    """All that a gallery holds, in comparable form."""
    samples: list[object] = [
        {one.name: getattr(sample, one.name) for one in fields(StoredSample) if one.name != "vector"}
        | {"v": sample.vector.tobytes()}
        for sample in gallery.samples()
    ]
    return [gallery.model_id, *gallery.people(), *gallery.thresholds(), *samples]


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    gallery.enroll("Ada", [make_sample(1), make_sample(2, box_px=None, det_score=None, quality=None)])
    gallery.enroll("Gone", [make_sample(3)])
    gallery.enroll(
        "Ren\u00e9e \u5f20",
        [make_sample(4, source_path=os.fsdecode(b"/caf\xe9/4.jpg"), det_score=0.1 + 0.2, quality=1 / 3)],
        metadata={"note": 'a "quoted"\nnote', "": "\U0001f600"},
    )
    gallery.enroll("Nobody", [make_sample(5)])
    gallery.remove_person("Gone")  # leaves a gap in the ids
    gallery.remove_samples([5])
    gallery.set_threshold(StoredThreshold(1e-3, 0.1 + 0.2, "pairs.csv"))
    return gallery


@pytest.fixture
def export(filled: Gallery, tmp_path: Path) -> Path:
    path = tmp_path / "export.jsonl"
    filled.export_to(path)
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Gallery]:
    with open_gallery(tmp_path / "empty.sqlite", create=True) as opened:
        yield opened


class TestRoundTrip:
    def test_everything_comes_back(self, filled: Gallery, export: Path, empty: Gallery, tmp_path: Path) -> None:
        assert empty.import_from(export) == ImportSummary(3, 3, 0, thresholds_added=1)
        assert contents(empty) == contents(filled)
        assert [person.id for person in empty.people()] == [1, 4, 3]
        second = tmp_path / "second.jsonl"
        empty.export_to(second)
        assert second.read_bytes() == export.read_bytes()

    def test_of_an_empty_gallery(self, empty: Gallery, gallery: Gallery, tmp_path: Path) -> None:
        empty.export_to(tmp_path / "nothing.jsonl")
        assert gallery.import_from(tmp_path / "nothing.jsonl") == ImportSummary(0, 0, 0)
        assert gallery.model_id is None

    def test_twice_adds_nothing(self, export: Path, empty: Gallery) -> None:
        empty.import_from(export)
        before = contents(empty)
        assert empty.import_from(export) == ImportSummary(0, 0, 3)
        assert contents(empty) == before

    def test_the_documented_format(self, filled: Gallery, export: Path) -> None:
        header, *records = [json.loads(line) for line in export.read_text("ascii").splitlines()]
        assert header == {
            "kind": "gallery",
            "format": "lightface-gallery",
            "version": 1,
            "model_id": "model-a",
            "people": 3,
            "samples": 3,
        }
        assert [record["kind"] for record in records] == ["person"] * 3 + ["threshold"] + ["sample"] * 3
        sample = records[4]
        vector = np.frombuffer(base64.b64decode(sample.pop("embedding")), dtype="<f4")
        assert np.array_equal(vector, make_vector(1))
        assert sample == {
            "kind": "sample",
            "id": 1,
            "person_id": 1,
            "source_path": "/photos/1.jpg",
            "image_sha256": make_sample(1).image_sha256,
            "box_px": [10.0, 20.0, 110.0, 140.0],
            "det_score": 0.99,
            "quality": 0.8,
            "created_at": filled.samples()[0].created_at.isoformat(),
        }


class TestJoin:
    def test_people_of_one_name_are_joined(self, export: Path, empty: Gallery) -> None:
        empty.enroll("Somebody", [make_sample(50)])
        empty.enroll("Rene\u0301e \u5f20", [make_sample(51)], metadata={"note": "mine", "own": "kept"})
        assert empty.import_from(export) == ImportSummary(2, 3, 0)
        joined = find(empty, "ren\u00e9e \u5f20")
        assert (joined.id, joined.name) == (2, "Ren\u00e9e \u5f20")
        assert joined.metadata == {"note": "mine", "own": "kept", "": "\U0001f600"}
        assert len(empty.samples(joined.id)) == 2
        assert {sample.id for sample in empty.samples()} == {1, 2, 3, 4, 5}
        assert empty.thresholds() == []  # they were measured on other people

    def test_one_face_cannot_belong_to_two(self, export: Path, empty: Gallery) -> None:
        empty.enroll("Zoe", [make_sample(4)])
        with pytest.raises(IdentityConflictError, match="'Zoe'"):
            empty.import_from(export)
        assert [person.name for person in empty.people()] == ["Zoe"]

    def test_another_model_is_refused(self, export: Path, empty: Gallery, tmp_path: Path) -> None:
        empty.enroll("Zoe", [make_sample(50, model_id="model-b")])
        with pytest.raises(ModelMismatchError, match="gallery reembed"):
            empty.import_from(export)
        with (
            open_gallery(tmp_path / "other.sqlite", model_id="model-b", create=True) as other,
            pytest.raises(ModelMismatchError),
        ):
            other.import_from(export)

    def test_nobody_is_joined_with_somebody_whose_name_only_looks_the_same(self, export: Path, empty: Gallery) -> None:
        empty.enroll("ren\u00e9e \u5f20", [make_sample(50)])
        before = contents(empty)
        with pytest.raises(GalleryError, match="look like one name"):
            empty.import_from(export)
        assert contents(empty) == before

    def test_a_pair_of_an_earlier_lightface_comes_back_as_two(self, export: Path, empty: Gallery) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        lines[1]["name"], lines[2]["name"] = "Ann Lee", "Ann  Lee"
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        empty.import_from(export, allow_alike=True)
        assert [find(empty, line["name"]).id for line in lines[1:3]] == [line["id"] for line in lines[1:3]]
        empty.enroll("Ann  Lee", [make_sample(60)])
        with pytest.raises(GalleryError, match="look like one name"):
            empty.enroll("ANN LEE", [make_sample(61)])

    @pytest.mark.parametrize("name", ["ann lee", "Ann  Lee", "Ann\u00a0Lee", "Ann\u200b Lee", "\uff21nn Lee"])
    def test_names_that_look_alike_within_a_file_are_refused_unless_asked(
        self, export: Path, empty: Gallery, name: str
    ) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        lines[1]["name"], lines[2]["name"] = "Ann Lee", name
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with pytest.raises(GalleryError, match=r"line 3: two people with one name, .*; rename one of them") as caught:
            empty.import_from(export)
        assert "Ann Lee" in str(caught.value) and contents(empty) == [None]
        if name == "ann lee":  # no gallery ever held such two
            with pytest.raises(GalleryError, match="line 3: two people with one name"):
                empty.import_from(export, allow_alike=True)
        else:
            empty.import_from(export, allow_alike=True)
            assert {person.name for person in empty.people()} >= {"Ann Lee", name}

    def test_a_threshold_looser_than_that_of_the_weights_is_refused_unless_asked(
        self, export: Path, empty: Gallery
    ) -> None:
        record = find_weights(DEFAULT_WEIGHTS)
        own = record.thresholds["1e-3"]
        header, *lines = [json.loads(line) for line in export.read_text().splitlines()]
        (threshold,) = [line for line in lines if line["kind"] == "threshold"]

        def bring(*cosines: float) -> None:
            brought = [
                {**threshold, "far": 10 ** -(place + 2), "threshold": cosine} for place, cosine in enumerate(cosines)
            ]
            kept = [line for line in lines if line["kind"] != "threshold"]
            texts = map(json.dumps, [{**header, "model_id": record.model_id}, *brought, *kept])
            export.write_text("".join(f"{text}\n" for text in texts))

        for looser in ((0.01,), (0.01, own - 0.001)):
            bring(*looser)
            with pytest.raises(GalleryError, match=f"a threshold of {looser[-1]:.3f}, and that of its weights"):
                empty.import_from(export)
            assert contents(empty) == [None]
        bring(0.3, own)  # the looser of two is for review
        assert empty.import_from(export).thresholds_added == 2
        bring(0.01)
        empty.remove_person("Ada")
        empty.import_from(export)  # into a gallery of people, no threshold comes
        assert [one.threshold for one in empty.thresholds()] == [0.3, own]

    def test_a_looser_threshold_comes_where_it_is_asked_for(self, export: Path, empty: Gallery) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        lines[0]["model_id"] = find_weights(DEFAULT_WEIGHTS).model_id
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with pytest.raises(GalleryError, match="allow looser ones"):
            empty.import_from(export)
        assert empty.import_from(export, allow_looser=True).thresholds_added == 1

    @pytest.mark.parametrize("line", ["[1]", "null", "7", '"x"'])
    def test_a_line_that_is_no_object(self, export: Path, empty: Gallery, line: str) -> None:
        lines = export.read_text().splitlines()
        lines[1] = line
        export.write_text("\n".join(lines))
        with pytest.raises(GalleryError, match="line 2: it is no JSON object; export the gallery again"):
            empty.import_from(export)

    def test_enrolment_goes_on_after_the_largest_ids(self, export: Path, empty: Gallery) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        people = [line for line in lines if line["kind"] == "person"]
        lines[-1]["person_id"] = people[-1]["id"] = lines[-1]["id"] = 2**52
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        empty.import_from(export)
        zoe = empty.enroll("Zoe", [make_sample(50)])
        assert (zoe.id, [sample.id for sample in empty.samples(zoe.id)]) == (2**52 + 1, [2**52 + 1])


class TestNewGallery:
    """An import that makes the gallery: all of it, or none."""

    def test_is_what_the_file_holds(self, filled: Gallery, export: Path, tmp_path: Path) -> None:
        path = tmp_path / "new" / "gallery.sqlite"
        assert import_gallery(path, export) == ImportSummary(3, 3, 0, thresholds_added=1)
        with open_gallery(path) as opened:
            assert contents(opened) == contents(filled)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert [file.name for file in path.parent.iterdir()] == ["gallery.sqlite"]

    @pytest.mark.parametrize(
        "edit",
        [
            lambda lines: lines.pop(),
            lambda lines: lines[4].update(threshold=-1),
            lambda lines: lines[-1].update(image_sha256=lines[-2]["image_sha256"], box_px=lines[-2]["box_px"]),
        ],
    )
    def test_a_failure_leaves_none(self, export: Path, tmp_path: Path, edit: Edit) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        edit(lines)
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        folder = tmp_path / "new"
        folder.mkdir()
        with pytest.raises(LightfaceError):
            import_gallery(folder / "gallery.sqlite", export)
        assert list(folder.iterdir()) == []

    def test_nor_on_a_server(self, filled: Gallery, export: Path, postgres_url: str) -> None:
        if filled.location.startswith("postgresql:"):
            pytest.skip("the database of the test has a gallery already")
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        lines[-1].update(image_sha256=lines[-2]["image_sha256"], box_px=lines[-2]["box_px"])
        broken = export.with_name("broken.jsonl")
        broken.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with pytest.raises(IdentityConflictError):
            import_gallery(postgres_url, broken)
        assert not gallery_exists(postgres_url)
        assert import_gallery(postgres_url, export).samples_added == 3

    def test_nor_does_ctrl_c(self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*arguments: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(GalleryStore, "put_threshold", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_gallery(tmp_path / "new" / "gallery.sqlite", export)
        assert list((tmp_path / "new").iterdir()) == []

    def test_one_that_came_meanwhile_is_not_replaced(
        self, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "new" / "gallery.sqlite"
        put = places._put_in_place

        def make_and_put(draft: Path, target: Path) -> None:
            with open_gallery(target, create=True) as other:
                other.enroll("Faster", [make_sample(77)])
            put(draft, target)

        monkeypatch.setattr(places, "_put_in_place", make_and_put)
        with pytest.raises(GalleryError, match="by now; run the command again"):
            import_gallery(path, export)
        with open_gallery(path) as opened:
            assert [person.name for person in opened.people()] == ["Faster"]

    def test_a_place_that_cannot_be(self, export: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        for place in (tmp_path / "file" / "gallery.sqlite", tmp_path / "a\0b" / "g"):
            with pytest.raises(OutputError, match="choose another place"):
                import_gallery(place, export)


class TestModels:
    """Embeddings are as long as those of the model whose they are said to be, where that is known."""

    model_id = find_weights(DEFAULT_WEIGHTS).model_id

    def test_of_another_length_are_not_imported(self, export: Path, empty: Gallery) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        lines[0]["model_id"] = self.model_id
        for number, line in enumerate(lines[5:]):
            line["embedding"] = encode(np.eye(1, 128, number)[0])
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with pytest.raises(GalleryError, match="128 numbers does not fit the 256 of its model"):
            empty.import_from(export)
        assert contents(empty) == [None]

    def test_nor_opened(self, tmp_path: Path) -> None:
        path = tmp_path / "g.sqlite"
        with open_gallery(path, create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1, vector=np.eye(1, 128, dtype=np.float32)[0])])
            gallery._store.set_setting("model_id", self.model_id)
        with pytest.raises(GalleryError, match=r"is damaged \(embeddings of 128 numbers"):
            open_gallery(path, model_id=self.model_id)

    def test_nor_of_no_model(self, tmp_path: Path) -> None:
        path = tmp_path / "g.sqlite"
        with open_gallery(path, create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1)])
            gallery._store.delete_setting("model_id")
        with pytest.raises(GalleryError, match="is damaged"):
            open_gallery(path, model_id="model-b")


class TestFile:
    def test_is_the_owners(self, export: Path) -> None:
        assert stat.S_IMODE(export.stat().st_mode) == 0o600

    def test_replaces_an_older_one_whole(self, filled: Gallery, export: Path) -> None:
        export.write_text("older")
        export.chmod(0o644)
        filled.export_to(export)
        assert export.read_text().startswith('{"kind": "gallery"')
        assert stat.S_IMODE(export.stat().st_mode) == 0o600

    def test_nothing_is_left_of_a_failure(self, filled: Gallery, export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = export.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
            filled.export_to(export)
        assert export.read_bytes() == before
        assert [path.name for path in export.parent.iterdir() if path.is_file()] == ["export.jsonl"]

    def test_not_onto_the_gallery_itself(self, gallery_path: Path, filled: Gallery) -> None:
        if filled.location != str(gallery_path):
            pytest.skip("a gallery that is no file")
        with pytest.raises(OutputError, match="is the gallery itself"):
            filled.export_to(gallery_path.parent / ".." / gallery_path.parent.name / gallery_path.name)

    def test_not_into_a_missing_folder_or_onto_a_folder(self, filled: Gallery, tmp_path: Path) -> None:
        with pytest.raises(OutputError, match="No such file"):
            filled.export_to(tmp_path / "missing" / "export.jsonl")
        (tmp_path / "folder").mkdir()
        with pytest.raises(OutputError, match="it is a folder"):
            filled.export_to(tmp_path / "folder")


Edit = Callable[[list[dict[str, Any]]], Any]


def encode(vector: FloatArray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


class TestDamage:
    def test_missing(self, empty: Gallery, tmp_path: Path) -> None:
        with pytest.raises(GalleryError, match=r"cannot be read \(No such file"):
            empty.import_from(tmp_path / "missing.jsonl")

    @pytest.mark.parametrize(
        ("edit", "words"),
        [
            (lambda lines: lines.clear(), "the file is empty"),
            (lambda lines: lines.pop(), "line 7: the file ends with 3 people and 2 samples of 3 and 3"),
            (lambda lines: lines.pop(0), "line 1: not an export of a gallery"),
            (lambda lines: lines[0].update(format="other"), "line 1: not an export"),
            (lambda lines: lines[0].update(version=2), "line 1: format version 2, known is 1; upgrade"),
            (lambda lines: lines[0].update(model_id=7), "line 1: 7 is not a text"),
            (lambda lines: lines[1].update(kind="animal"), "line 2: unknown kind 'animal'"),
            (lambda lines: lines[1].pop("name"), "line 2: no 'name'"),
            (lambda lines: lines[1].update(name=""), "line 2: a person's name is empty"),
            (lambda lines: lines[1].update(name=5), "line 2: "),
            (lambda lines: lines[1].update(id=2**63), "line 2: .* is no id"),
            (lambda lines: lines[1].update(metadata={"a": 1}), "line 2: a person's metadata must be texts"),
            (lambda lines: lines[1].update(metadata="a"), "line 2: "),
            (lambda lines: lines[1].update(created_at="2025-01-01"), "line 2: .* has no time zone"),
            (lambda lines: lines[1].update(created_at="0001-01-01T00:00:00+05:00"), "line 2: date"),
            (lambda lines: lines[2].update(id=1), "line 3: id 1 occurs twice"),
            (lambda lines: lines[4].update(threshold="0.4"), "line 5: '0.4' is not a finite number"),
            (lambda lines: lines[4].update(far=0), "line 5: a false-accept rate is 0.0; give a number between 0 and 1"),
            (lambda lines: lines[5].update(person_id=2), "line 6: a sample of person 2, who is not in the file"),
            (lambda lines: lines[5].update(embedding="AAAA"), "line 6: "),
            (lambda lines: lines[5].update(embedding="%"), "line 6: "),
            (lambda lines: lines[5].update(embedding="AAAA" * 4), "line 6: an embedding must have length 1"),
            (lambda lines: lines[5].update(box_px=[1, 2, 3]), "line 6: "),
            (lambda lines: lines[5].update(image_sha256="ab"), "line 6: .*SHA-256"),
            (lambda lines: lines[6].update(id=1), "line 7: id 1 occurs twice"),
            (lambda lines: lines[0].update(model_id="\x1b[2J"), "line 6: .* is no model's id"),
            (lambda lines: lines[1].update(id=2**63 - 1), "line 2: .* is no id"),
            (lambda lines: lines[1].update(id=2**53), "line 2: .* is no id"),
            (lambda lines: lines[1].update(id=True), "line 2: True is not an id"),
            (lambda lines: lines[1].update(name="A" * 251), "line 2: .* is longer than 250 characters"),
            (lambda lines: lines[1].update(name="\x1b]0;A"), "line 2: .* cannot be printed"),
            (lambda lines: lines[1].update(name=lines[2]["name"].upper()), "line 3: two people with one name"),
            (lambda lines: lines[1].update(metadata={"a": "x" * 10_001}), "line 2: .* longer than 10,000 characters"),
            (lambda lines: lines[1].update(metadata={str(n): "" for n in range(1001)}), "line 2: .* than 1,000 texts"),
            (lambda lines: lines[1].update(created_at="1969-12-31T00:00:00+00:00"), "line 2: .* out of range"),
            (lambda lines: lines[1].update(created_at="9999-12-31T00:00:00+00:00"), "line 2: .* out of range"),
            (lambda lines: lines[4].update(threshold=-1), "line 5: a threshold of -1 is not above 0"),
            (lambda lines: lines[4].update(threshold=0), "line 5: a threshold of 0 is not above 0"),
            (lambda lines: lines[4].update(threshold=1.01), "line 5: a threshold of 1.01 is not above 0 and at most 1"),
            (lambda lines: lines[4].update(threshold=float("nan")), "line 5: nan is not a finite number"),
            (lambda lines: lines[4].update(threshold=True), "line 5: True is not a finite number"),
            (lambda lines: lines[4].update(source="x" * 10_001), "line 5: .* is no text to keep"),
            (lambda lines: lines[5].update(embedding=encode(np.eye(1, 3)[0])), "line 6: .* 3 numbers, which no model"),
            (lambda lines: lines[5].update(embedding=encode(np.eye(1, 5000)[0])), "line 6: .* 5000 numbers, which no"),
            (lambda lines: lines[5].update(embedding=encode(np.full(256, np.nan))), "line 6: .* length 1, not nan"),
            (lambda lines: lines[5].update(id=2**60), "line 6: .* is no id"),
            (lambda lines: lines[5].update(quality=7), "line 6: score and quality of .* from 0 to 1"),
            (lambda lines: lines[5].update(det_score=-1), "line 6: score and quality of .* from 0 to 1"),
            (lambda lines: lines[5].update(box_px=[9, 9, 1, 1]), "line 6: .* has no box of a face"),
            (lambda lines: lines[5].update(box_px=[0, 0, 1, 1e300]), "line 6: .* has no box of a face"),
            (lambda lines: lines[5].update(source_path="a\0b"), "line 6: .* names no photograph"),
            (lambda lines: lines[5].update(source_path="a\ud800b"), "line 6: a text holds half of a character"),
            (lambda lines: lines[4].update(source="\ud800"), "line 5: a text holds half of a character"),
            (lambda lines: lines[0].update(model_id="m\ud800"), "line 1: a text holds half of a character"),
            (lambda lines: lines[5].update(source_path="/" + "a" * 10_000), "line 6: .* names no photograph"),
        ],
    )
    def test_names_its_line_and_imports_nothing(self, export: Path, empty: Gallery, edit: Edit, words: str) -> None:
        lines = [json.loads(line) for line in export.read_text().splitlines()]
        edit(lines)
        export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        with pytest.raises(GalleryError, match=words) as caught:
            empty.import_from(export)
        assert str(export) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert contents(empty) == [None]

    @pytest.mark.parametrize(
        "line",
        [
            b"\xff\xd8\xff",
            b"[1, 2]",
            b"7",
            b"{",
            b'{"kind": "gallery", "format": "lightface-gallery", "version": 1' + b" " * 1000,
            b"[" * 100_000,
            b'{"kind": NaN}',
            b'{"kind": ' + b"9" * 5000 + b"}",
        ],
    )
    def test_hostile_lines(self, tmp_path: Path, empty: Gallery, line: bytes) -> None:
        path = tmp_path / "hostile.jsonl"
        path.write_bytes(line + b"\n")
        with pytest.raises(GalleryError, match=r"line 1: |is not an exported gallery"):
            empty.import_from(path)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_changed_byte_gives_a_lightface_error_or_a_sound_gallery(
        self, export: Path, empty: Gallery, data: st.DataObject
    ) -> None:
        content = bytearray(export.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        changed = export.with_name("changed.jsonl")
        changed.write_bytes(content)
        try:
            empty.import_from(changed)
        except LightfaceError as error:
            assert "\n" not in str(error)
        empty.matrix()
        for person in empty.people():
            empty.remove_person(person.id)
