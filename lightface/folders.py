"""Where lightface keeps what is the user's: data, caches and settings, in the folders that the system has for them.

data      gallery.sqlite, models/, journals/             must not be lost
cache     evaluation.sqlite, training/, faces/, ...    can be deleted at any time
config    config.toml
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import platformdirs

from lightface.files import make_folder

_log = logging.getLogger(__name__)

_NAME = "lightface"


def data_folder() -> Path:
    """The folder of galleries, journals and imported weights. It may not be there yet."""
    folder = platformdirs.user_data_path(_NAME, appauthor=False)
    _bring_over(platformdirs.user_data_path(_NAME) / "models", folder / "models")
    return folder


def cache_folder() -> Path:
    """The folder of what can be computed again. It may not be there yet."""
    folder = platformdirs.user_cache_path(_NAME, appauthor=False)
    for name in ("training", "kernels"):
        _bring_over(platformdirs.user_cache_path(_NAME) / name, folder / name)
    _bring_over(folder / "cluster", folder / "faces")  # its name when `cluster` alone kept them
    return folder


def config_folder() -> Path:
    """The folder of the configuration file. It may not be there yet."""
    return platformdirs.user_config_path(_NAME, appauthor=False)


def _bring_over(old: Path, new: Path) -> None:
    """Move, once, what an earlier lightface kept elsewhere; on Windows some of it lay a folder of the same name deeper.

    What cannot be moved stays where it is, and is told.
    """
    if old == new or new.exists() or not old.is_dir():
        return
    try:
        make_folder(new.parent)
        os.rename(old, new)
    except OSError as error:
        if not new.exists():  # else another process was faster
            _log.warning("%s cannot be moved to %s (%s); move it there yourself", old, new, error.strerror)
    else:
        _log.info("moved %s to %s", old, new)
