"""The memory that `lightface embed` takes for folders of very different sizes, the processes that it starts included.

The photographs are hard links of one: a small one without a face, so that a large folder is measured in minutes, and
crops that come aligned, for the memory of rows and embeddings.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import matplotlib.cbook
import psutil
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.figures import Context, Row

_LIGHTFACE = ("-c", "from lightface.cli.main import run; run()")  # what the installed script does
_LINKS = 50_000  # to one file: ext4 knows 65,000
_WITHOUT_FACES, _WITH_FACES = (1_000, 10_000, 100_000), (500, 5_000)


def measure(context: Context) -> list[Row]:
    blank, crop = context.work / "blank.png", context.work / "crop.png"
    Image.new("RGB", (64, 64), (90, 90, 90)).save(blank)
    hopper = Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    hopper.convert("RGB").crop((150, 60, 400, 310)).resize((128, 128)).save(crop)
    without_faces, with_faces = ((100,), (50,)) if context.quick else (_WITHOUT_FACES, _WITH_FACES)
    return [
        *(_measure_folder(blank, count, context.work) for count in without_faces),
        *(_measure_folder(crop, count, context.work, "--already-aligned") for count in with_faces),
    ]


def _measure_folder(photo: Path, count: int, work: Path, *options: str) -> Row:
    folder, output = work / f"{photo.stem}-{count}", work / f"{photo.stem}-{count}.parquet"
    folder.mkdir()
    for number in range(count):
        if number % _LINKS == 0:
            source = shutil.copy(photo, folder / f"{number:06}.png")
        else:
            os.link(source, folder / f"{number:06}.png")
    start = time.perf_counter()
    command = [sys.executable, *_LIGHTFACE, "embed", str(folder), "-o", str(output), "--device", "cpu", "-q", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        peak_bytes = _watch(process)
    seconds = (time.perf_counter() - start) / count
    rows = pq.ParquetFile(output).metadata.num_rows
    case = f"{count:,} photographs" + (", a face each" if options else ", no face")
    return Row("memory", case, "lightface embed", seconds, "photo", extra={"peak MB": peak_bytes / 1e6, "rows": rows})


def _watch(process: subprocess.Popen[bytes]) -> int:
    """The most that the process and its children had for themselves at once, looked at ten times a second."""
    peak, stopped = 0, threading.Event()
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        for each in [watched, *watched.children(recursive=True)]:
            try:
                total += each.memory_full_info().uss
            except psutil.Error:  # it has ended
                continue
        peak = max(peak, total)
        stopped.wait(0.1)
    return peak
