"""Runs that are killed, in processes of their own: nothing that was finished is lost, doubled or half written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from stand_ins import MeanEmbedder, make_pipeline, paint

from lightface.batch import embed_folder, journal_path
from lightface.errors import OutputError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals")

PHOTOS = 24

# Tells of each finished photograph, and waits to be told to go on.
RUN = """if True:
    import sys
    from pathlib import Path
    from stand_ins import MeanEmbedder, make_pipeline
    from lightface.batch import embed_folder

    def report(progress):
        print(progress.done, progress.unchanged, flush=True)
        sys.stdin.readline()

    folder, output = map(Path, sys.argv[1:])
    embed_folder(make_pipeline(MeanEmbedder()), [folder], output, batch_size=1, progress=report)
"""


def stop_after(folder: Path, output: Path, count: int, signal_number: signal.Signals) -> int:
    """Stop a run once it has done `count` photographs; how many it found done."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, folder, output],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        done, unchanged = map(int, process.stdout.readline().split())
        while done < count:
            process.stdin.write("\n")
            process.stdin.flush()
            done = int(process.stdout.readline().split()[0])
        with pytest.raises(OutputError, match="another run is writing this output"):
            embed_folder(make_pipeline(MeanEmbedder()), [folder], output)
        process.send_signal(signal_number)
        assert process.wait(timeout=600) != 0
    return unchanged


def test_a_killed_run_is_continued(tmp_path: Path) -> None:
    folder, output = tmp_path / "photos", tmp_path / "faces.parquet"
    for number in range(PHOTOS):
        paint(folder / f"{number:02}.png", (10 * number, 5, 5))
    assert stop_after(folder, output, 5, signal.SIGKILL) == 0
    assert stop_after(folder, output, 7, signal.SIGINT) == 5
    assert not output.exists()

    embedder = MeanEmbedder()
    assert embed_folder(make_pipeline(embedder), [folder], output).unchanged == 12
    assert embedder.count == PHOTOS - 12

    undisturbed = tmp_path / "undisturbed.parquet"
    embed_folder(make_pipeline(MeanEmbedder()), [folder], undisturbed)
    assert pq.read_table(output).equals(pq.read_table(undisturbed))
    # Neither a partial table nor a log is left.
    written = {path.name for table in (output, undisturbed) for path in (table, journal_path(table))}
    assert {path.name for path in tmp_path.iterdir()} == {"photos", *written}
