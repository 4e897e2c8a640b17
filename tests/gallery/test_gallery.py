"""The rules of a gallery."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from made_up import find, make_sample, make_vector

import lightface.gallery
from lightface.errors import (
    ConfigError,
    DuplicateFaceError,
    GalleryError,
    IdentityConflictError,
    LightfaceError,
    ModelMismatchError,
    PersonNotFoundError,
)
from lightface.gallery import (
    Gallery,
    GalleryMatrix,
    NewSample,
    SearchResult,
    StoredThreshold,
    default_gallery_path,
    normalize_name,
    open_gallery,
)
from lightface.gallery.store import GalleryStore
from lightface.matching import DecisionBands, PersonScoring, assign_people, person_scores, rank_people
from lightface.records import Status


def test_exported_names() -> None:
    assert sorted(lightface.gallery.__all__) == [
        "CopySummary",
        "Event",
        "Expired",
        "Gallery",
        "GalleryAudit",
        "GalleryKey",
        "GalleryMatrix",
        "GalleryStats",
        "GalleryStore",
        "ImportSummary",
        "KeyFile",
        "LogEntry",
        "NewSample",
        "Passphrase",
        "Person",
        "SearchResult",
        "StoredSample",
        "StoredThreshold",
        "audit_gallery",
        "default_gallery_path",
        "describe_place",
        "gallery_exists",
        "import_gallery",
        "is_same_face",
        "make_key_file",
        "new_gallery",
        "normalize_name",
        "open_gallery",
    ]


def test_default_path_is_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    path = default_gallery_path()
    assert path == tmp_path / "data" / "lightface" / "gallery.sqlite"
    assert not path.parent.exists()
    with open_gallery(path, create=True):
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


class TestEnroll:
    def test_every_field_comes_back(self, gallery: Gallery) -> None:
        taken = datetime(2025, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5)))
        sample = make_sample(1, created_at=taken)
        person = gallery.enroll(" Ada ", [sample], metadata={"note": "consent on file"})
        assert (person.id, person.name, person.metadata) == (1, "Ada", {"note": "consent on file"})
        assert abs(person.created_at - datetime.now(UTC)) < timedelta(minutes=5)
        assert gallery.people() == [person]

        (stored,) = gallery.samples("Ada")
        assert np.array_equal(stored.vector, sample.vector) and stored.vector.dtype == np.float32
        assert (stored.id, stored.person_id, stored.model_id) == (1, person.id, "model-a")
        assert (stored.source_path, stored.image_sha256) == (sample.source_path, sample.image_sha256)
        assert (stored.box_px, stored.det_score, stored.quality) == (sample.box_px, 0.99, 0.8)
        assert stored.created_at == taken

    def test_what_is_unknown_stays_none(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1, box_px=None, det_score=None, quality=None)])
        (stored,) = gallery.samples("Ada")
        assert (stored.box_px, stored.det_score, stored.quality) == (None, None, None)

    def test_undecodable_and_long_paths(self, gallery: Gallery) -> None:
        paths = [
            os.fsdecode(b"/photos/caf\xe9.jpg"),
            "/" + "\u5f20/" * 3000 + "1.jpg",
            "'; DROP TABLE sample; --",
        ]
        gallery.enroll("Ada", [make_sample(n, source_path=path) for n, path in enumerate(paths)])
        assert [sample.source_path for sample in gallery.samples()] == paths

    def test_a_known_person_gets_more_samples(self, gallery: Gallery) -> None:
        first = gallery.enroll("Ada", [make_sample(1)], metadata={"a": "1", "b": "2"})
        again = gallery.enroll(" Ada ", [make_sample(2)], metadata={"b": "3", "c": "4"})
        assert (again.id, again.name) == (first.id, "Ada")
        assert find(gallery, "ada").metadata == {"a": "1", "b": "3", "c": "4"}
        assert len(gallery.samples("Ada")) == 2

    @pytest.mark.parametrize("name", ["ADA  lovelace", "AdaLovelace", "Ada\u00a0Lovelace", "Ada\u200b Lovelace"])
    def test_a_name_that_looks_like_somebodys_is_refused(self, gallery: Gallery, name: str) -> None:
        gallery.enroll("Ada Lovelace", [make_sample(1)])
        actions: list[Callable[[], object]] = [
            lambda: gallery.enroll(name, [make_sample(2)]),
            lambda: gallery.check_names(["Bob", name]),
        ]
        for action in actions:
            with pytest.raises(GalleryError, match="look like one name") as caught:
                action()
            assert str(caught.value).isprintable() and "'Ada Lovelace'" in str(caught.value)
        gallery.enroll("Bob", [make_sample(3)])
        with pytest.raises(GalleryError, match="there is a 'Ada Lovelace' already"):
            gallery.rename_person("Bob", name)
        assert [len(gallery.samples(person)) for person in ("Ada Lovelace", "Bob")] == [1, 1]
        assert find(gallery, name).name == "Ada Lovelace"  # who is looked for is found, in any case
        assert gallery.rename_person("Ada Lovelace", name).name == normalize_name(name)  # one's own

    def test_names_are_checked_before_the_work(self, gallery: Gallery) -> None:
        gallery.check_names(["Ada", "Bob", "Ada"])
        with pytest.raises(GalleryError, match="'bob' and 'Bob' look like one name"):
            gallery.check_names(["Ada", "Bob", "bob"])
        with pytest.raises(GalleryError, match="a person's name is empty"):
            gallery.check_names(["Ada", " "])

    def test_the_same_face_again_is_a_duplicate(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        with pytest.raises(DuplicateFaceError, match=r"/photos/1.jpg is enrolled for 'Ada' already"):
            gallery.enroll("Ada", [make_sample(1, box_px=(12.0, 21.0, 111.0, 139.0))])
        with pytest.raises(DuplicateFaceError):
            gallery.enroll("Ada", [make_sample(1, box_px=None)])
        with pytest.raises(DuplicateFaceError):
            gallery.enroll("Ada", [make_sample(2), make_sample(2)])
        assert len(gallery.samples()) == 1

    def test_somebody_elses_face_is_a_conflict(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        with pytest.raises(IdentityConflictError, match="enrolled for 'Ada' and cannot be 'Bob' as well"):
            gallery.enroll("Bob", [make_sample(1)])
        assert [person.name for person in gallery.people()] == ["Ada"]

    def test_a_group_photograph_serves_several_people(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1, box_px=(0, 0, 100, 100))])
        gallery.enroll("Bob", [make_sample(1, box_px=(200, 0, 300, 100))])
        with pytest.raises(IdentityConflictError, match="'Bob'"):
            gallery.enroll("Ada", [make_sample(1, box_px=(205, 0, 300, 100))])

    def test_all_or_none(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)], metadata={"a": "1"})
        with pytest.raises(DuplicateFaceError):
            gallery.enroll("Ada", [make_sample(2), make_sample(1)], metadata={"a": "2"})
        with pytest.raises(IdentityConflictError):
            gallery.enroll("Bob", [make_sample(3), make_sample(1)])
        assert [sample.source_path for sample in gallery.samples()] == ["/photos/1.jpg"]
        assert find(gallery, "Ada").metadata == {"a": "1"}
        assert len(gallery.people()) == 1

    def test_ctrl_c_in_the_middle_leaves_nothing(self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
        kind = type(gallery._store)
        insert_sample = kind.insert_sample

        def interrupted(store: GalleryStore, person_id: int, sample: NewSample) -> None:
            insert_sample(store, person_id, sample)
            raise KeyboardInterrupt

        monkeypatch.setattr(kind, "insert_sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gallery.enroll("Ada", [make_sample(1)])
        monkeypatch.undo()
        assert gallery.people() == [] and gallery.model_id is None
        gallery.enroll("Ada", [make_sample(1)])

    def test_nothing_to_enroll(self, gallery: Gallery) -> None:
        with pytest.raises(GalleryError, match="no face to enroll for 'Ada'"):
            gallery.enroll("Ada", [])

    @pytest.mark.parametrize("metadata", [{"a": 1}, {1: "a"}])
    def test_metadata_are_texts(self, gallery: Gallery, metadata: Mapping[str, str]) -> None:
        with pytest.raises(GalleryError, match="must be texts"):
            gallery.enroll("Ada", [make_sample(1)], metadata=metadata)

    def test_another_embedding_size_is_refused(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        short = np.eye(1, 128, dtype=np.float32)[0]
        with pytest.raises(GalleryError, match="128 numbers does not fit the 256 of its model"):
            gallery.enroll("Ada", [make_sample(2, vector=short)])


class TestModelPin:
    def test_the_first_enrolment_pins(self, place: Path | str) -> None:
        with open_gallery(place, create=True) as gallery:
            assert gallery.model_id is None
            gallery.enroll("Ada", [make_sample(1)])
            assert gallery.model_id == gallery.matrix().model_id == "model-a"
            with pytest.raises(ModelMismatchError, match=r"embeddings of model-a, not of model-b.*gallery reembed"):
                gallery.enroll("Ada", [make_sample(2, model_id="model-b")])

    def test_opening_for_another_model_is_refused(self, gallery: Gallery, place: Path | str) -> None:
        open_gallery(place, model_id="model-b").close()  # nobody is enrolled yet
        gallery.enroll("Ada", [make_sample(1)])
        with pytest.raises(ModelMismatchError, match="gallery reembed"):
            open_gallery(place, model_id="model-b")
        with open_gallery(place) as unpinned:
            assert unpinned.model_id == "model-a"

    def test_samples_of_another_model_than_opened_for(self, gallery: Gallery) -> None:
        with pytest.raises(ModelMismatchError):
            gallery.enroll("Ada", [make_sample(1), make_sample(2, model_id="model-b")])
        with pytest.raises(ModelMismatchError):
            gallery.enroll("Ada", [make_sample(1, model_id="model-b")])
        assert gallery.model_id is None

    def test_a_move_by_another_process_is_noticed(self, gallery: Gallery, place: Path | str) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        gallery.matrix()
        with open_gallery(place) as other:
            other.replace_embeddings("model-b", {1: make_vector(99)})
        with pytest.raises(ModelMismatchError):
            gallery.matrix()
        with pytest.raises(ModelMismatchError):
            gallery.enroll("Ada", [make_sample(2)])


class TestFind:
    def test_by_name_or_id(self, gallery: Gallery) -> None:
        person = gallery.enroll("Ren\u00e9e", [make_sample(1)])
        assert gallery.find_person("RENE\u0301E") == gallery.find_person(person.id) == person

    def test_nobody(self, gallery: Gallery) -> None:
        gallery.enroll("Grace Hopper", [make_sample(1)])
        assert gallery.find_person("Grace Hoper") is None and gallery.find_person(7) is None
        for nobody in ("Grace Hoper", 7):
            with pytest.raises(
                PersonNotFoundError, match=f"no person {nobody!r} in the gallery; name one of its people"
            ):
                gallery.samples(nobody)
            with pytest.raises(PersonNotFoundError):
                gallery.rename_person(nobody, "Grace")

    def test_nobody_is_found_without_reading_everybody(self, gallery: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        monkeypatch.setattr(GalleryStore, "people", lambda _: pytest.fail("everybody was read"))
        assert gallery.find_person("Adda") is None
        with pytest.raises(PersonNotFoundError):
            gallery.remove_person("Adda")

    def test_enrolled_faces(self, gallery: Gallery) -> None:
        sample = make_sample(1)
        assert gallery.find_enrolled(sample.image_sha256) is None
        gallery.enroll("Ada", [sample])
        for box_px in (None, sample.box_px):
            found = gallery.find_enrolled(sample.image_sha256, box_px)
            assert found is not None and found.id == 1
        assert gallery.find_enrolled(sample.image_sha256, (500, 500, 600, 600)) is None
        assert gallery.find_enrolled(make_sample(2).image_sha256) is None

    def test_people_by_name_and_samples_by_person(self, gallery: Gallery) -> None:
        for number, name in enumerate(["bob", "Ada", "Cid", "Ada", "bob"]):
            gallery.enroll(name, [make_sample(number)])
        assert [person.name for person in gallery.people()] == ["Ada", "bob", "Cid"]
        assert [sample.source_path[8] for sample in gallery.samples()] == ["0", "4", "1", "3", "2"]
        assert [sample.source_path[8] for sample in gallery.samples("Ada")] == ["1", "3"]


class TestMatrix:
    def test_of_an_empty_gallery(self, gallery: Gallery) -> None:
        matrix = gallery.matrix()
        assert matrix.vectors.shape == (0, 256) and matrix.person_index.shape == (0,) and matrix.people == ()

    def test_rows_belong_to_their_people(self, gallery: Gallery) -> None:
        for number, name in enumerate(["Bob", "Ada", "Bob", "Cid"]):
            gallery.enroll(name, [make_sample(number)])
        gallery.remove_samples([4])  # Cid keeps the name but has no face
        matrix = gallery.matrix()
        assert [person.name for person in matrix.people] == ["Bob", "Ada"]
        assert matrix.person_index.tolist() == [0, 0, 1] and matrix.person_index.dtype == np.int64
        assert np.array_equal(matrix.vectors, [make_vector(0), make_vector(2), make_vector(1)])
        assert matrix.vectors.dtype == np.float32 and not matrix.vectors.flags.writeable

    def test_is_read_again_only_after_a_change(self, gallery: Gallery, place: Path | str) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        first = gallery.matrix()
        assert gallery.matrix() is first
        with open_gallery(place) as other:
            assert gallery.matrix() is first
            other.enroll("Bob", [make_sample(2)])
        second = gallery.matrix()
        assert [person.name for person in second.people] == ["Ada", "Bob"]
        assert gallery.matrix() is second
        gallery.rename_person("Bob", "Bert")
        assert [person.name for person in gallery.matrix().people] == ["Ada", "Bert"]


def ids_of(results: list[SearchResult]) -> list[tuple[int | None, list[int]]]:
    """Who each face was given, and the candidates."""
    return [
        (None if one.match is None else one.match.person_id, [other.person_id for other in one.candidates])
        for one in results
    ]


class TestSearch:
    BANDS = DecisionBands(0.5, 0.3)

    def test_an_empty_gallery_and_no_face(self, gallery: Gallery) -> None:
        probes = make_vector(1)[np.newaxis]
        assert gallery.search(probes, bands=self.BANDS) == [SearchResult(None, ())]
        gallery.enroll("Ada", [make_sample(1)])
        assert gallery.search(probes[:0], bands=self.BANDS) == []

    def test_a_limit_that_is_none_is_refused(self, gallery: Gallery) -> None:
        with pytest.raises(ConfigError, match="limit"):
            gallery.search(make_vector(1)[np.newaxis], bands=self.BANDS, limit=-1)

    @pytest.mark.parametrize("scoring", ["mean", "best"])
    def test_scores_and_order_are_those_of_the_whole_matrix(self, gallery: Gallery, scoring: PersonScoring) -> None:
        for number in range(12):
            gallery.enroll(f"Person {number}", [make_sample(3 * number + turn) for turn in range(1 + number % 3)])
        gallery.enroll("Twin", [make_sample(99, vector=make_vector(3))])  # ties go to who came first
        probes = np.stack([make_vector(3), make_vector(19), make_vector(1000)])
        matrix = gallery.matrix()
        scores = person_scores(probes, matrix.vectors, matrix.person_index, len(matrix.people), how=scoring)
        found = gallery.search(probes, bands=self.BANDS, limit=4, scoring=scoring)
        for row, one in zip(scores, found, strict=True):
            wanted = [(matrix.people[column].id, float(row[column])) for column in rank_people(row, 4)]
            assert [(other.person_id, other.similarity) for other in one.candidates] == wanted
        named = [
            None if column is None else matrix.people[column].id
            for column in assign_people(scores, self.BANDS.naming_threshold)
        ]
        assert [person for person, _ in ids_of(found)] == named

    def test_a_poor_face_and_a_person_of_poor_ones_are_for_review_until_they_are_more_alike(
        self, gallery: Gallery
    ) -> None:
        gallery.enroll("Clear", [make_sample(1, quality=0.95)])
        gallery.enroll("Poor", [make_sample(2, quality=0.0), make_sample(3, quality=0.45, vector=make_vector(2))])
        gallery.enroll("Old", [make_sample(4, quality=None)])  # as imports may be
        bands = DecisionBands(0.5, poor_raise=0.6)

        def search(seed: int, quality: float | None) -> tuple[Status, object]:
            near = make_vector(seed) + 0.6 * make_vector(50)  # a cosine of about 0.86
            probe = (near / np.linalg.norm(near)).astype(np.float32)[np.newaxis]
            (found,) = gallery.search(probe, bands=bands, qualities=[quality])
            assert found.match is not None and found.candidates[0] == found.match
            return found.match.status, found.match.threshold

        assert search(1, 0.0) == search(4, 0.0) == (Status.MATCHED, 0.5)
        assert search(2, 0.9) == search(2, None) == (Status.MATCHED, 0.5)
        assert search(2, 0.0) == (Status.REVIEW, pytest.approx(0.95))  # the mean poorness of the samples is 0.75
        assert search(2, 0.45) == (Status.MATCHED, pytest.approx(0.725))

    def test_a_person_is_given_to_a_face_that_is_matched_rather_than_to_a_poor_one_that_is_more_alike(
        self, gallery: Gallery
    ) -> None:
        gallery.enroll("Poor", [make_sample(2, quality=0.0)])
        poor, clear = (make_vector(2) + share * make_vector(50) for share in (0.6, 0.8))
        probes = np.stack([poor / np.linalg.norm(poor), clear / np.linalg.norm(clear)]).astype(np.float32)
        bands = DecisionBands(0.5, poor_raise=0.5)
        first, second = gallery.search(probes, bands=bands, qualities=[0.0, 1.0])
        assert first.match is None and first.candidates[0].status is Status.REVIEW
        assert second.match is not None and second.match.status is Status.MATCHED
        with pytest.raises(ConfigError, match="1 qualities for 2 faces"):
            gallery.search(probes, bands=bands, qualities=[0.0])

    def test_nobody_is_named_twice(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        gallery.enroll("Bob", [make_sample(2)])
        probes = np.stack([make_vector(1)] * 2)
        assert ids_of(gallery.search(probes, bands=self.BANDS, limit=1)) == [(1, [1]), (None, [1])]

    def test_templates_are_made_again_only_after_a_change(
        self, gallery: Gallery, place: Path | str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads: list[Gallery] = []
        read = Gallery._read_matrix

        def count(self: Gallery) -> GalleryMatrix:
            reads.append(self)
            return read(self)

        monkeypatch.setattr(Gallery, "_read_matrix", count)
        probe = make_vector(2)[np.newaxis]
        gallery.log.set_days(7)
        gallery.enroll("Ada", [make_sample(1), make_sample(4)])

        def ask() -> list[tuple[int | None, list[int]]]:
            with ThreadPoolExecutor(1) as pool:  # any thread finds what another has made
                return ids_of(pool.submit(gallery.search, probe, bands=self.BANDS).result(timeout=600))

        for _ in range(3):
            assert ask() == [(None, [1])]
        assert len(reads) == 1
        with open_gallery(place) as other:
            other.search(make_vector(1)[np.newaxis], bands=self.BANDS)  # which is logged, and changes nothing
            assert ask() == [(None, [1])] and len(reads) == 2
            changes: list[tuple[Callable[[Gallery], object], list[tuple[int | None, list[int]]]]] = [
                (lambda it: it.enroll("Bob", [make_sample(2)]), [(2, [2, 1])]),
                (lambda it: it.move_sample(3, "Ada"), [(1, [1])]),
                (lambda it: it.split_person("Ada", [3], "Bo"), [(3, [3, 1])]),
                (lambda it: it.merge_people("Bo", "Ada"), [(1, [1])]),
                (lambda it: it.remove_samples([1, 2]), [(1, [1])]),
                (lambda it: it.replace_embeddings("model-a", {3: make_vector(77)}), [(None, [1])]),
                (lambda it: it.remove_person("Ada"), [(None, [])]),
            ]
            for number, (change, expected) in enumerate(changes):
                change(other if number % 2 else gallery)
                assert ask() == ask() == expected, number
            assert len(reads) == 2 + len(changes)

    def test_a_new_name_is_told_at_once(self, gallery: Gallery, place: Path | str) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        gallery.search(make_vector(1)[np.newaxis], bands=self.BANDS)
        with open_gallery(place) as other:
            other.rename_person("Ada", "Ida")
        (found,) = gallery.search(make_vector(1)[np.newaxis], bands=self.BANDS)
        assert found.match is not None and found.match.person_name == "Ida"

    def test_a_gallery_that_was_moved_to_another_model_is_not_searched(
        self, gallery: Gallery, place: Path | str
    ) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        probe = make_vector(1)[np.newaxis]
        gallery.search(probe, bands=self.BANDS)
        with open_gallery(place) as other:
            other.replace_embeddings("model-b", {1: make_vector(5)})
        for _ in range(2):
            with pytest.raises(ModelMismatchError, match="model-b"):
                gallery.search(probe, bands=self.BANDS)


class TestCare:
    def test_remove_person(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1), make_sample(2)])
        bob = gallery.enroll("Bob", [make_sample(3)])
        assert gallery.remove_person("BOB") == bob
        assert gallery.remove_person(1).name == "Ada"
        assert gallery.people() == [] and gallery.samples() == []
        with pytest.raises(PersonNotFoundError):
            gallery.remove_person("Ada")
        assert gallery.enroll("Ada", [make_sample(1)]).id == 3  # ids are not used again

    def test_remove_samples(self, gallery: Gallery) -> None:
        gallery.enroll("Ada", [make_sample(1), make_sample(2)])
        with pytest.raises(GalleryError, match="no sample 9"):
            gallery.remove_samples([1, 9])
        assert len(gallery.samples()) == 2
        gallery.remove_samples([1])
        assert [sample.id for sample in gallery.samples("Ada")] == [2]

    def test_rename(self, gallery: Gallery) -> None:
        gallery.enroll("ada", [make_sample(1)])
        gallery.enroll("Bob", [make_sample(2)])
        assert gallery.rename_person("ada", " Ada Lovelace").name == "Ada Lovelace"
        assert gallery.rename_person("ada lovelace", "ADA LOVELACE").name == "ADA LOVELACE"
        with pytest.raises(GalleryError, match="'Bob' already; merge"):
            gallery.rename_person("Ada Lovelace", "BOB")
        with pytest.raises(GalleryError, match="name is empty"):
            gallery.rename_person("Bob", " ")
        assert [person.name for person in gallery.people()] == ["ADA LOVELACE", "Bob"]
        assert len(gallery.samples("ada lovelace")) == 1

    def test_merge(self, gallery: Gallery) -> None:
        gallery.enroll("Bob", [make_sample(1)], metadata={"a": "bob", "b": "bob"})
        gallery.enroll("Robert", [make_sample(2)], metadata={"b": "robert", "c": "robert"})
        merged = gallery.merge_people("Bob", "Robert")
        assert (merged.id, merged.name) == (2, "Robert")
        assert merged.metadata == {"a": "bob", "b": "robert", "c": "robert"}
        assert gallery.people() == [merged]
        assert [sample.id for sample in gallery.samples("Robert")] == [1, 2]
        with pytest.raises(GalleryError, match="cannot be merged with itself"):
            gallery.merge_people("Robert", 2)
        with pytest.raises(PersonNotFoundError):
            gallery.merge_people("Bob", "Robert")

    def test_stats(self, gallery: Gallery, place: Path | str) -> None:
        empty = gallery.stats()
        assert (empty.person_count, empty.sample_count, empty.last_enrolled_at) == (0, 0, None)
        dates = [datetime(2025, 1, day, tzinfo=UTC) for day in (1, 3, 2)]
        gallery.enroll("Ada", [make_sample(n, created_at=dates[n]) for n in (0, 1)])
        gallery.enroll("Bob", [make_sample(2, created_at=dates[2])])
        gallery.remove_samples([3])
        stats = gallery.stats()
        assert (stats.location, stats.model_id) == (gallery.location, "model-a")
        assert (stats.person_count, stats.sample_count) == (2, 2)
        assert stats.samples_per_person == {1: 2, 2: 0}
        assert stats.last_enrolled_at == dates[1]
        assert stats.created_at == empty.created_at
        assert stats.size_bytes >= empty.size_bytes > 4096

    def test_template_sizes(self, gallery: Gallery) -> None:
        assert gallery.template_sizes() == {}
        for name, photos in {"Ada": range(3), "Bob": range(3, 6), "Cy": range(6, 7), "Di": range(7, 8)}.items():
            gallery.enroll(name, [make_sample(photo) for photo in photos])
        (sample,) = gallery.samples("Di")
        assert sample.id is not None
        gallery.remove_samples([sample.id])
        assert gallery.template_sizes() == {1: 1, 3: 2}

    def test_thresholds(self, gallery: Gallery) -> None:
        assert gallery.thresholds() == []
        strict = StoredThreshold(1e-4, 0.5, "pairs.csv")
        gallery.set_threshold(strict)
        gallery.set_threshold(StoredThreshold(1e-3, 0.3, "old"))
        newer = StoredThreshold(1e-3, 0.4, "caf\udce9.csv")
        gallery.set_threshold(newer)
        assert gallery.thresholds() == [newer, strict]
        assert gallery.forget_thresholds() == 2
        assert gallery.thresholds() == [] and gallery.forget_thresholds() == 0


class TestReplaceEmbeddings:
    @pytest.fixture
    def filled(self, gallery: Gallery) -> Gallery:
        gallery.enroll("Ada", [make_sample(1), make_sample(2)])
        gallery.enroll("Bob", [make_sample(3)])
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
        return gallery

    def test_moves_to_the_new_model(self, filled: Gallery) -> None:
        filled.replace_embeddings("model-b", {n: make_vector(n + 100) for n in (1, 2, 3)})
        assert filled.model_id == filled.matrix().model_id == "model-b"
        assert np.array_equal(filled.matrix().vectors, [make_vector(n) for n in (101, 102, 103)])
        assert {sample.model_id for sample in filled.samples()} == {"model-b"}
        assert filled.thresholds() == []  # they were the old model's
        filled.enroll("Bob", [make_sample(4, model_id="model-b")])

    def test_may_change_the_size(self, filled: Gallery) -> None:
        filled.replace_embeddings("model-b", {n: np.eye(3, 128, dtype=np.float32)[n - 1] for n in (1, 2, 3)})
        assert filled.matrix().vectors.shape == (3, 128)

    def test_drops_what_it_is_told_to(self, filled: Gallery) -> None:
        filled.replace_embeddings("model-b", {1: make_vector(101)}, drop=[2, 3])
        assert [sample.id for sample in filled.samples()] == [1]
        assert filled.stats().samples_per_person == {1: 1, 2: 0}

    @pytest.mark.parametrize(
        ("embedded", "dropped", "words"),
        [
            ([1, 2], [], "1 sample has no new embedding"),
            ([1, 2, 3], [3], "not both"),
            ([1, 2, 3, 4], [], "no sample 4"),
            ([1, 2, 3], [4], "no sample 4"),
        ],
    )
    def test_every_sample_is_accounted_for(
        self, filled: Gallery, embedded: list[int], dropped: list[int], words: str
    ) -> None:
        with pytest.raises(GalleryError, match=words):
            filled.replace_embeddings("model-b", {n: make_vector(n + 100) for n in embedded}, drop=dropped)
        assert filled.model_id == "model-a"
        assert np.array_equal(filled.matrix().vectors, [make_vector(n) for n in (1, 2, 3)])
        assert len(filled.thresholds()) == 1

    def test_bad_vectors_are_refused(self, filled: Gallery) -> None:
        with pytest.raises(GalleryError, match="length 1"):
            filled.replace_embeddings("model-b", {n: make_vector(n) * 2 for n in (1, 2, 3)})
        mixed = {1: make_vector(1), 2: make_vector(2), 3: np.eye(1, 128, dtype=np.float32)[0]}
        with pytest.raises(GalleryError, match="different sizes"):
            filled.replace_embeddings("model-b", mixed)

    def test_an_emptied_gallery_takes_another_model(self, filled: Gallery) -> None:
        filled.replace_embeddings("model-b", {}, drop=[1, 2, 3])
        filled.enroll("Ada", [make_sample(1, model_id="model-b")])


@pytest.mark.parametrize("person", [-1, 0, 2**63, 10**30])
def test_an_id_that_cannot_be_is_nobodys(gallery: Gallery, person: int) -> None:
    assert gallery.find_person(person) is None
    with pytest.raises(PersonNotFoundError):
        gallery.samples(person)


def test_a_closed_gallery_says_so(place: Path | str) -> None:
    with open_gallery(place, create=True) as gallery:
        pass
    with pytest.raises(GalleryError, match="closed"):
        gallery.people()


class GalleryAgainstModel(RuleBasedStateMachine):
    """Whatever is done in whatever order, the gallery holds what a dictionary of names would hold."""

    names = st.sampled_from(["Ada", "ADA", "Bob", "Cid"])
    photos = st.integers(0, 9)

    def __init__(self, gallery: Gallery) -> None:
        super().__init__()
        self.gallery = gallery
        for person in gallery.people():  # of the last round
            gallery.remove_person(person.id)
        self.expected: dict[str, set[int]] = {}

    @rule(name=names, photos=st.lists(photos, min_size=1, max_size=3))
    def enroll(self, name: str, photos: list[int]) -> None:
        taken = set().union(*self.expected.values())
        samples = [
            NewSample(vector=make_vector(photo), model_id="m", source_path="", image_sha256=f"{photo:064x}")
            for photo in photos
        ]
        others = {person.name for person in self.gallery.people()} - {name}
        try:
            self.gallery.enroll(name, samples)
        except GalleryError as error:
            assert "look like one name" in str(error) and name.lower() in {other.lower() for other in others}
        except (DuplicateFaceError, IdentityConflictError):
            assert taken & set(photos) or len(set(photos)) < len(photos)
        else:
            assert not taken & set(photos) and len(set(photos)) == len(photos)
            self.expected.setdefault(name.lower(), set()).update(photos)

    @rule(name=names)
    def remove(self, name: str) -> None:
        if name.lower() in self.expected:
            self.gallery.remove_person(name)
            del self.expected[name.lower()]

    @rule(name=names, new_name=names)
    def rename(self, name: str, new_name: str) -> None:
        try:
            self.gallery.rename_person(name, new_name)
        except LightfaceError:
            is_taken = new_name.lower() in self.expected and new_name.lower() != name.lower()
            assert name.lower() not in self.expected or is_taken
        else:
            self.expected[new_name.lower()] = self.expected.pop(name.lower())

    @rule(source=names, into=names)
    def merge(self, source: str, into: str) -> None:
        try:
            self.gallery.merge_people(source, into)
        except LightfaceError:
            missing = {source.lower(), into.lower()} - self.expected.keys()
            assert missing or source.lower() == into.lower()
        else:
            self.expected[into.lower()] |= self.expected.pop(source.lower())

    @invariant()
    def matrix_and_people_agree(self) -> None:
        matrix = self.gallery.matrix()
        assert sorted(person.name.lower() for person in self.gallery.people()) == sorted(self.expected)
        for index, person in enumerate(matrix.people):
            rows = {row.tobytes() for row in matrix.vectors[matrix.person_index == index]}
            assert rows == {make_vector(photo).tobytes() for photo in self.expected[person.name.lower()]}
        assert len(matrix.vectors) == sum(len(photos) for photos in self.expected.values())


def test_a_gallery_against_a_model(place: Path | str) -> None:
    with open_gallery(place, create=True) as gallery:
        run_state_machine_as_test(
            lambda: GalleryAgainstModel(gallery),  # type: ignore[arg-type]
            settings=settings(
                max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )


def test_samples_name_the_new_path_of_their_photograph(gallery: Gallery, tmp_path: Path) -> None:
    new = str(tmp_path / "moved.jpg")
    gallery.enroll("Ada", [make_sample(1), make_sample(2), make_sample(3, source_path="s3://photos/3.jpg")])
    before = gallery.samples("Ada")
    version = gallery.matrix()
    assert gallery.relocate_samples({1: ("/photos/1.jpg", new), 2: ("/elsewhere/2.jpg", new), 99: ("a", new)}) == 1
    after = gallery.samples("Ada")
    assert [sample.source_path for sample in after] == [new, "/photos/2.jpg", "s3://photos/3.jpg"]
    for was, now in zip(before, after, strict=True):
        assert (was.id, was.person_id, was.image_sha256) == (now.id, now.person_id, now.image_sha256)
        assert (was.box_px, was.quality, was.created_at) == (now.box_px, now.quality, now.created_at)
        assert np.array_equal(was.vector, now.vector)
    assert gallery.matrix() is not version
    # A photograph is followed where no file is any more; not by URL.
    found = {sample.image_sha256: f"{new} {sample.id}" for sample in before}
    Path(new).touch()
    assert gallery.follow_photos(found) == {before[1].image_sha256: "/photos/2.jpg"}
    assert [one.source_path for one in gallery.samples("Ada")] == [new, f"{new} 2", "s3://photos/3.jpg"]
    assert gallery.follow_photos({"0" * 64: new}) == {}
