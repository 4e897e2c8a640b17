"""A re-embedding that is killed while it writes, in a process of its own: the old gallery is whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.gallery import StoredThreshold, open_gallery
from lightface.pipeline import enroll_photos, reembed_gallery

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")

# Dies by its own hand at the place in question: nothing is flushed, closed or rolled back.
RUN = """if True:
    import os, signal, sys
    from itertools import islice
    from pathlib import Path
    from stand_ins import MeanEmbedder, make_pipeline
    from lightface.gallery import open_gallery
    from lightface.gallery.sqlite import SqliteStore
    from lightface.pipeline import reembed_gallery

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half(store, vectors):
        write(store, dict(islice(vectors.items(), len(vectors) // 2)))
        die()

    write, forget = SqliteStore.update_vectors, SqliteStore.delete_thresholds
    match sys.argv[2]:
        case "half-written":
            SqliteStore.update_vectors = write_half
        case "before-commit":
            SqliteStore.delete_thresholds = lambda store: (forget(store), die())
        case "after-commit":
            SqliteStore.purge = lambda store: die()
    with open_gallery(Path(sys.argv[1])) as gallery:
        reembed_gallery(make_pipeline(MeanEmbedder("other")), gallery)
"""


@pytest.mark.parametrize("place", ["half-written", "before-commit", "after-commit"])
def test_a_killed_move_has_happened_whole_or_not_at_all(tmp_path: Path, place: str) -> None:
    path = tmp_path / "gallery.sqlite"
    with open_gallery(path, create=True) as gallery:
        for number in range(1, 9):
            photo = paint(tmp_path / f"{number}.png", (25 * number, 5, 200 - 20 * number))
            enroll_photos(make_pipeline(MeanEmbedder()), gallery, f"Person {number % 3}", [photo], even_if_alike=True)
        gallery.set_threshold(StoredThreshold(0.001, 0.4, "a test"))
        before = gallery.samples()

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    run = subprocess.run([sys.executable, "-c", RUN, path, place], env=environment, stderr=subprocess.PIPE, timeout=600)
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()

    moved = place == "after-commit"
    with open_gallery(path) as gallery:
        after = gallery.samples()
        assert gallery.model_id == ("other" if moved else "stand-in")
        assert {sample.model_id for sample in after} == {gallery.model_id}
        assert len(gallery.thresholds()) == (0 if moved else 1)
        assert [sample.id for sample in after] == [sample.id for sample in before]
        assert all(np.array_equal(new.vector, old.vector) for new, old in zip(after, before, strict=True))
        assert reembed_gallery(make_pipeline(MeanEmbedder("third")), gallery).embedded == 8
