"""A gallery on a server: what is refused and in which words, what survives, and that passwords are never shown."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from made_up import make_sample, make_vector

from lightface.errors import GalleryError, LightfaceError, OutputError
from lightface.gallery import Event, Gallery, NewSample, StoredThreshold, gallery_exists, open_gallery
from lightface.matching import DecisionBands, person_scores, rank_people
from lightface.records import FloatArray

if TYPE_CHECKING:
    import psycopg as psycopg_types

    from lightface.gallery.postgres import PostgresStore

    Connection = psycopg_types.Connection[tuple[Any, ...]]

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
postgres = pytest.importorskip("lightface.gallery.postgres")
postgres_server_module = pytest.importorskip("lightface.gallery.postgres")
location_of = postgres_server_module.location_of


@pytest.fixture
def place(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def raw(postgres_url: str) -> Iterator[Connection]:
    """The database behind lightface's back."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("SET search_path = lightface, public")
        yield connection


def message_of(url: str, *, create: bool = True) -> str:
    """The one line that opening ends with."""
    with pytest.raises(GalleryError) as caught:
        open_gallery(url, create=create)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestUrl:
    @pytest.mark.parametrize(
        ("url", "location"),
        [
            ("postgresql://ada:s3cret@db.example/faces", "postgresql://ada@db.example/faces"),
            ("postgres://ada:s3cret@db.example:6432/faces?sslmode=require", "postgresql://ada@db.example:6432/faces"),
            ("postgresql://db.example/faces?user=ada&password=s3cret", "postgresql://ada@db.example/faces"),
            ("postgresql:///faces?host=/run/pg&password=s3cret", "postgresql:///faces?host=/run/pg"),
            ("postgresql://ada:s3%20cret@/faces", "postgresql://ada@/faces"),
        ],
    )
    def test_location_holds_no_password(self, url: str, location: str) -> None:
        assert location_of(url) == location

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://ada:s3cr@et@db.example/faces",
            "postgresql://ada:s3c/ret@db.example/faces",
            "postgresql://ada:100%s3cret@db.example/faces",
            "postgresql://ada:s3cret@db.example/faces?pasword=s3cret",
            "postgresql://[s3cret/faces",
        ],
    )
    def test_a_url_that_cannot_be_read_is_not_quoted(self, url: str) -> None:
        with pytest.raises(GalleryError, match="URL cannot be read; write it as postgresql://USER@HOST") as caught:
            open_gallery(url)
        assert "s3c" not in str(caught.value) and "ret" not in str(caught.value).replace("secret", "")
        assert caught.value.__cause__ is None and caught.value.__suppress_context__

    def test_a_password_is_in_no_message(self, postgres_url: str) -> None:
        with_password = postgres_url.replace("postgres:@", "postgres:s3cret@")
        assert with_password != postgres_url
        with open_gallery(with_password, create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1)])
            assert "s3cret" not in gallery.location + gallery.stats().location
            with pytest.raises(LightfaceError) as caught:
                gallery.enroll("Ada", [make_sample(2, model_id="other")])
            assert gallery.location in str(caught.value)
        assert "s3cret" not in message_of(with_password.replace("/gallery_", "/missing_"))


class TestRefusals:
    def test_an_unreachable_server(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))  # nobody listens
            message = message_of(f"postgresql://ada@127.0.0.1:{free.getsockname()[1]}/faces")
        assert "cannot be reached" in message and "refused" in message

    def test_a_server_that_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PGCONNECT_TIMEOUT", "2")
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            assert "timeout" in message_of(f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/faces")

    def test_a_database_that_is_not_there(self, postgres_server: str) -> None:
        assert 'database "nowhere" does not exist' in message_of(postgres_server.replace("/postgres?", "/nowhere?"))

    def test_a_database_without_a_gallery(self, postgres_url: str) -> None:
        assert not gallery_exists(postgres_url)
        assert "there is no gallery in" in message_of(postgres_url, create=False)
        open_gallery(postgres_url, create=True).close()
        assert gallery_exists(postgres_url)
        open_gallery(postgres_url).close()

    def test_a_server_without_pgvector(self, postgres_url: str, raw: Connection) -> None:
        raw.execute("DROP EXTENSION vector")
        raw.execute(f"ALTER DATABASE {raw.info.dbname} SET extension_control_path = '/nowhere'")
        assert "has no pgvector; have it installed" in message_of(postgres_url)
        assert not gallery_exists(postgres_url)

    def test_a_user_without_rights(self, postgres_url: str, gallery: Gallery, raw: Connection) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        user = f"reader_{raw.info.dbname}"
        raw.execute(f"CREATE USER {user}")
        try:
            as_user = postgres_url.replace("postgres:@", f"{user}:@")
            assert "this user may not" in message_of(as_user)
            raw.execute(f"GRANT USAGE ON SCHEMA lightface TO {user}")
            raw.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA lightface TO {user}")
            with open_gallery(as_user) as reader:
                assert len(reader.matrix().vectors) == 1
                with pytest.raises(GalleryError, match=r"this user may not .* have the rights granted"):
                    reader.enroll("Bob", [make_sample(2)])
            raw.execute("DROP SCHEMA lightface CASCADE")
            assert "permission denied for database" in message_of(as_user)
        finally:
            raw.execute(f"DROP OWNED BY {user}")
            raw.execute(f"DROP USER {user}")

    def test_a_newer_schema(self, postgres_url: str, gallery: Gallery, raw: Connection) -> None:
        raw.execute("UPDATE setting SET value = '99' WHERE name = 'schema_version'")
        assert "newer lightface (schema 99, known is 3); upgrade" in message_of(postgres_url)

    def test_a_read_only_server(self, gallery: Gallery) -> None:
        gallery._store._query("SET default_transaction_read_only = on")
        with pytest.raises(OutputError, match="takes no changes"):
            gallery.enroll("Ada", [make_sample(1)])

    @pytest.mark.parametrize(
        "damage",
        [
            "DROP TABLE threshold",
            "UPDATE person SET metadata = '{'",
            "UPDATE sample SET embedding = '[1, 1]'",
            "UPDATE sample SET embedding = '[1]' WHERE id = 1",
            "DELETE FROM setting WHERE name = 'created_at'",
        ],
    )
    def test_damage_is_one_error(self, gallery: Gallery, raw: Connection, damage: str) -> None:
        gallery.enroll("Ada", [make_sample(1), make_sample(2)])
        raw.execute(damage)
        with pytest.raises(GalleryError, match="is damaged") as caught:
            for read in (gallery.people, gallery.matrix, gallery.samples, gallery.stats, gallery.thresholds):
                read()
        assert "\n" not in str(caught.value)

    def test_another_writer_is_waited_for_but_not_for_ever(self, gallery: Gallery, raw: Connection) -> None:
        gallery._store._query("SET lock_timeout = '200ms'")
        with raw.transaction():
            raw.execute("UPDATE setting SET value = value WHERE name = 'revision'")
            with pytest.raises(GalleryError, match="held by another process"):
                gallery.enroll("Ada", [make_sample(1)])
            assert gallery.people() == []  # readers do not wait
        gallery.enroll("Ada", [make_sample(1)])

    def test_a_name_that_is_too_long_for_the_server(self, gallery: Gallery) -> None:
        name = "".join(chr(0x4E00 + number % 20000) for number in range(20000))  # of an index, whatever the rules say
        with pytest.raises(GalleryError, match="cannot keep this"), gallery._store.writing():
            gallery._store.insert_person(name, {}, datetime.now(UTC))
        assert gallery.people() == []


def test_a_lost_connection_in_mid_enrolment_loses_and_doubles_nothing(
    gallery: Gallery, postgres_url: str, raw: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery.enroll("Ada", [make_sample(1)])
    insert_sample = postgres.PostgresStore.insert_sample

    def cut(store: PostgresStore, person_id: int, sample: NewSample) -> None:
        insert_sample(store, person_id, sample)
        raw.execute("SELECT pg_terminate_backend(%s)", (store._connection.info.backend_pid,))

    monkeypatch.setattr(postgres.PostgresStore, "insert_sample", cut)
    with pytest.raises(GalleryError, match=r"connection to .* was lost .*; run the command again") as caught:
        gallery.enroll("Bob", [make_sample(2), make_sample(3)])
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    with pytest.raises(GalleryError, match="lost"):
        gallery.people()
    with open_gallery(postgres_url, model_id="model-a") as again:
        assert [person.name for person in again.people()] == ["Ada"]
        again.enroll("Bob", [make_sample(2), make_sample(3)])
        assert again.stats().sample_count == 3


class TestMigrations:
    later = (
        *postgres_server_module.MIGRATIONS,
        ("ALTER TABLE person ADD COLUMN consent text", "CREATE TABLE a (b int)"),
    )

    def test_an_older_gallery_is_brought_up_to_date(
        self, gallery: Gallery, postgres_url: str, raw: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
        monkeypatch.setattr(postgres_server_module, "MIGRATIONS", self.later)
        with open_gallery(postgres_url) as migrated:
            assert len(migrated.thresholds()) == 1
        assert raw.execute("SELECT consent FROM person").fetchall() == []
        assert raw.execute("SELECT value FROM setting WHERE name = 'schema_version'").fetchone() == ("4",)

    def test_a_failing_step_changes_nothing(
        self, gallery: Gallery, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gallery.enroll("Ada", [make_sample(1)])
        monkeypatch.setattr(postgres_server_module, "MIGRATIONS", (*self.later, ("CREATE TABLE a (b int)",)))
        with pytest.raises(GalleryError, match='"a" already exists'):
            open_gallery(postgres_url)
        monkeypatch.undo()
        with open_gallery(postgres_url) as unchanged:
            assert len(unchanged.samples("Ada")) == 1


class TestCandidates:
    """Large galleries find candidates by their templates and score them by their samples."""

    people = 400

    @pytest.fixture(autouse=True, params=["every template", "index"])
    def large(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(postgres, "SEARCHED_THERE", 100)
        monkeypatch.setattr(postgres, "EXACT_UP_TO", -2 if request.param == "index" else 10**6)
        monkeypatch.setattr(postgres, "CANDIDATES", 20)

    @pytest.fixture
    def crowd(self, gallery: Gallery, tmp_path: Path) -> Gallery:
        with open_gallery(tmp_path / "crowd.sqlite", create=True) as source:
            with source._store.writing():
                source._store.set_setting("model_id", "model-a")
                for number in range(1, self.people + 1):
                    person = source._store.insert_person(f"Person {number}", {}, make_sample(1).created_at)
                    for turn in range(2):
                        source._store.insert_sample(person.id, make_sample(number * 2 + turn))
            source.copy_to(gallery)
        return gallery

    @staticmethod
    def nearest(gallery: Gallery, probe: FloatArray, k: int) -> list[tuple[int, float]]:
        near, found = gallery.matrix_near(probe[np.newaxis], k), []
        (scores,) = person_scores(probe[np.newaxis], near.vectors, near.person_index, len(near.people))
        for index in rank_people(scores, k):
            found.append((near.people[index].id, round(float(scores[index]), 5)))
        return found

    @staticmethod
    def exact(gallery: Gallery, probe: FloatArray, k: int) -> list[tuple[int, float]]:
        whole = gallery.matrix()
        (scores,) = person_scores(probe[np.newaxis], whole.vectors, whole.person_index, len(whole.people))
        return [(whole.people[index].id, round(float(scores[index]), 5)) for index in rank_people(scores, k)]

    def test_they_are_few_and_their_scores_exact(self, crowd: Gallery) -> None:
        probes = [make_vector(2 * number) for number in (5, 77, 300)]
        near = crowd.matrix_near(np.stack(probes), 5)
        assert 20 <= len(near.people) <= 60
        for probe in probes:
            assert self.nearest(crowd, probe, 5) == self.exact(crowd, probe, 5)

    def test_templates_follow_every_change(self, crowd: Gallery, raw: Connection) -> None:
        newcomer = crowd.enroll("Newcomer", [make_sample(9001)])
        assert self.nearest(crowd, make_vector(9001), 1)[0] == (newcomer.id, 1.0)
        crowd.enroll("Newcomer", [make_sample(9002)])
        assert self.nearest(crowd, make_vector(9002), 5) == self.exact(crowd, make_vector(9002), 5)
        crowd.merge_people("Newcomer", "Person 1")
        crowd.move_sample(5, "Person 3")
        crowd.remove_samples([11, 12])
        crowd.remove_person("Person 9")
        templates = raw.execute("SELECT person_id FROM template ORDER BY person_id").fetchall()
        assert [one for (one,) in templates] == [person.id for person in crowd.matrix().people]
        for seed in (9001, 9002, 5, 6, 11, 18, 20):
            assert self.nearest(crowd, make_vector(seed), 5) == self.exact(crowd, make_vector(seed), 5)

    def test_many_changes_build_the_index_anew(
        self, crowd: Gallery, raw: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "_MANY_PEOPLE", 100)
        (before,) = raw.execute("SELECT 'template_likeness'::regclass::oid").fetchone() or (0,)
        ids = [sample.id for sample in crowd.samples() if sample.id]
        crowd.replace_embeddings("model-a", {one: make_vector(one + 5000) for one in ids})
        (after,) = raw.execute("SELECT 'template_likeness'::regclass::oid").fetchone() or (0,)
        assert before != after
        assert self.nearest(crowd, make_vector(5002), 5) == self.exact(crowd, make_vector(5002), 5)

    def test_embeddings_of_another_size_are_found_too(self, crowd: Gallery) -> None:
        rows = np.random.default_rng(0).normal(size=(2 * self.people, 128))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        ids = [sample.id for sample in crowd.samples() if sample.id]
        crowd.replace_embeddings("model-b", dict(zip(ids, rows, strict=True)))
        assert len(crowd.matrix_near(rows[:1], 1).people) == 20
        assert self.nearest(crowd, rows[7], 5) == self.exact(crowd, rows[7], 5)

    def test_the_index_is_used(self, crowd: Gallery, raw: Connection) -> None:
        raw.execute("SET enable_seqscan = off")
        query = (
            "EXPLAIN SELECT person_id FROM template WHERE vector_dims(embedding) = 256 "
            "ORDER BY embedding::halfvec(256) <=> (SELECT embedding::halfvec(256) FROM sample LIMIT 1) LIMIT 20"
        )
        assert any("template_likeness" in line for (line,) in raw.execute(query).fetchall())


def test_what_a_removal_cannot_reach_is_said(gallery: Gallery) -> None:
    assert gallery.residual_copies is not None and "VACUUM" in gallery.residual_copies


def test_the_documented_roles_can_do_their_work_and_no_more(postgres_url: str, raw: Connection) -> None:
    text = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    statements = text.split("```sql\n")[1].split("```")[0]
    roles = [f"lightface_{word}" for word in ("owner", "writer", "reader")]
    raw.execute(statements.encode())
    try:
        owner, writer, reader = (postgres_url.replace("postgres:@", f"{role}:@") for role in roles)
        assert "this user may not" in message_of(writer)  # there are no tables yet
        open_gallery(owner, create=True).close()
        with open_gallery(writer, model_id="model-a", create=True) as gallery:
            gallery.enroll("Ada", [make_sample(1), make_sample(2)])
            gallery.enroll("Bob", [make_sample(3)], metadata={"note": "x"})
            gallery.move_sample(2, "Bob")
            gallery.merge_people("Bob", "Ada")
            gallery.set_threshold(StoredThreshold(1e-3, 0.4, "pairs.csv"))
            gallery.replace_embeddings("model-b", {n: make_vector(n) for n in (1, 2, 3)})
        with open_gallery(reader) as gallery:
            assert gallery.stats().sample_count == 3
            assert len(gallery.matrix_near(make_vector(1)[np.newaxis], 1).people) == 1
            with pytest.raises(GalleryError, match="this user may not"):
                gallery.remove_person("Ada")
        probe, bands = make_vector(1)[np.newaxis], DecisionBands(0.4)
        with open_gallery(owner) as gallery:
            gallery.log.set_days(30)
        with open_gallery(reader) as gallery, pytest.raises(GalleryError, match="this user may not"):
            gallery.search(probe, bands=bands)
        (grant,) = re.findall(r"`(GRANT [^`]+;)`", text)
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(grant.encode())
        with open_gallery(reader) as gallery:
            gallery.search(probe, bands=bands)
            assert [one.event for one in gallery.log.entries()] == [Event.LOG_ON, Event.MATCHED]
        with psycopg.connect(writer) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE lightface.sample")
    finally:
        raw.execute("DROP SCHEMA IF EXISTS lightface CASCADE")
        for role in roles:
            raw.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")
