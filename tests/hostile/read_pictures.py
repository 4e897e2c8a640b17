"""Read pictures one after another, and tell of each what became of it, how long it took and the memory so far.

In a process of its own, whose memory has nothing else in it: `python read_pictures.py FOLDER MAX_PIXELS`.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lightface.errors import LightfaceError
from lightface.images import count_pixels, load_photo


def peak_bytes() -> int:
    """Of this process alone; `getrusage` would begin with what the process had that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


folder, max_pixels = Path(sys.argv[1]), int(sys.argv[2])
for path in sorted(folder.iterdir()):
    started_s, error = time.process_time(), None
    try:
        pixels = load_photo(path, max_pixels=max_pixels).image_rgb
        assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.shape[0] * pixels.shape[1] <= max_pixels
        del pixels
    except LightfaceError as refusal:
        error = str(refusal)
    count_pixels(path)
    seconds = time.process_time() - started_s
    print(json.dumps({"name": path.name, "error": error, "seconds": seconds, "peak_bytes": peak_bytes()}), flush=True)
