"""Where galleries are: in files, or on PostgreSQL servers."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeGuard

from lightface.errors import GalleryError, LockedGalleryError, OutputError
from lightface.files import flush_entry, make_folder
from lightface.folders import data_folder
from lightface.gallery.gallery import Gallery
from lightface.gallery.keys import GalleryKey, KeyKind
from lightface.gallery.records import ImportSummary
from lightface.gallery.sqlite import open_sqlite_store
from lightface.gallery.store import GalleryStore
from lightface.locations import RemotePath, as_path
from lightface.words import count_of

if TYPE_CHECKING:
    from lightface.gallery.encryption import GalleryCipher

_log = logging.getLogger(__name__)

_URL_SCHEMES: Final = ("postgresql://", "postgres://")


def default_gallery_path() -> Path:
    """Where the gallery lies unless another is named: in the user's data folder."""
    return data_folder() / "gallery.sqlite"


def is_url(place: Path | str) -> TypeGuard[str]:
    """Whether a place is a database on a server and no file."""
    return isinstance(place, str) and place.lower().startswith(_URL_SCHEMES)


def describe_place(place: Path | str) -> str:
    """A place for messages: without the password that a URL may have. GalleryError for a URL that is none."""
    return str(_postgres().location_of(place) if is_url(place) else place)


def _to_file(place: Path | str) -> Path:
    """The file of a gallery that is on no server. GalleryError for another URL, ConfigError for an empty place."""
    path = as_path(place)
    if isinstance(path, RemotePath):
        raise GalleryError(f"{path} is no gallery; name a file of this machine, or postgresql://USER@HOST/DATABASE")
    return path


def gallery_exists(place: Path | str) -> bool:
    """Whether there is something at `place` that `open_gallery` would not have to make."""
    return bool(_postgres().has_gallery(place)) if is_url(place) else _to_file(place).exists()


def open_gallery(
    place: Path | str,
    *,
    model_id: str | None = None,
    create: bool = False,
    key: GalleryKey | Callable[[KeyKind], GalleryKey] | None = None,
) -> Gallery:
    """The gallery at `place`, to be closed or used in a `with`.

    A text that begins with postgresql:// or postgres:// is a database with pgvector (extra `postgres`), anything else
    a SQLite file. `model_id` is the model whose embeddings will be compared and enrolled; None opens it for work that
    embeds nothing. A missing gallery is made where `create` allows it: a file for its owner's eyes only, in a folder
    of mode 0700 if that is missing too; on a server, the schema `lightface` in a database that is there.

    Where samples are kept for longer than the gallery's retention allows, a warning is logged.

    `key` opens an encrypted gallery: a passphrase, a key file, or a function that is asked for the kind that is needed.
    Others open without, whatever is given.

    Raises GalleryError (missing, no gallery, of a newer lightface, locked, damaged, out of reach, the wrong key),
    LockedGalleryError (no key), ModelMismatchError and OutputError (read-only place, full disk).
    """
    with ExitStack() as on_failure:
        gallery = Gallery(_open_store(place, create=create, key=key), model_id=model_id)
        on_failure.callback(gallery.close)
        gallery.check_model()
        if (expired := gallery.retention.expired()) is not None:
            _log.warning(
                "%s holds %s and %s past their %s; see 'lightface gallery expire'",
                gallery.location,
                count_of(len(expired.people), "person"),
                count_of(len(expired.samples), "sample"),
                count_of(gallery.retention.days or 0, "day"),
            )
        on_failure.pop_all()
    return gallery


@contextmanager
def new_gallery(place: Path | str) -> Iterator[Gallery]:
    """A gallery to be filled, which gets its place when the block ends; where the block fails, none is made.

    On a server it is made at once, and stays. Errors as in `open_gallery`; GalleryError too where something came to
    that place meanwhile.
    """
    if is_url(place):
        with open_gallery(place, create=True) as gallery:
            yield gallery
        return
    path = _to_file(place)
    with ExitStack() as stack:
        try:
            make_folder(path.parent)
            private = stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=".lightface-"))
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise OutputError(f"{path} cannot be made ({error}); choose another place") from error
        draft = Path(private) / path.name
        with open_gallery(draft, create=True) as gallery:
            yield gallery
        _put_in_place(draft, path)


def import_gallery(
    place: Path | str, path: Path, *, allow_looser: bool = False, allow_alike: bool = False
) -> ImportSummary:
    """Make the gallery at `place`, where there is none, of an export; where that fails, none is made.

    Errors as in `new_gallery` and `Gallery.import_from`.
    """
    if is_url(place):  # a server keeps what was made for nothing
        with tempfile.TemporaryDirectory(prefix=".lightface-") as private:
            draft = Path(private) / "gallery.sqlite"
            import_gallery(draft, path, allow_looser=allow_looser, allow_alike=allow_alike)
    with new_gallery(place) as gallery:
        return gallery.import_from(path, allow_looser=allow_looser, allow_alike=allow_alike)


def _put_in_place(draft: Path, path: Path) -> None:
    """Give a file its name, unless there is something of that name by now."""
    try:
        try:
            os.link(draft, path)
        except FileExistsError:
            raise GalleryError(f"there is something at {path} by now; run the command again") from None
        except OSError:  # a file system that knows no second name of a file
            os.rename(draft, path)
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error}); choose another place") from error
    flush_entry(path)


def _open_store(
    place: Path | str, *, create: bool, key: GalleryKey | Callable[[KeyKind], GalleryKey] | None
) -> GalleryStore:
    if is_url(place):
        store: GalleryStore = _postgres().open_postgres_store(place, create=create)
        return store

    def unlock(header: str) -> GalleryCipher:
        from lightface.gallery.encryption import GalleryCipher, kind_of

        kind, location = kind_of(header, location=str(place)), str(place)
        if key is None:
            raise LockedGalleryError(f"{location} is encrypted; give its {kind}")
        return GalleryCipher.unlock(header, key(kind) if callable(key) else key, location=location)

    return open_sqlite_store(_to_file(place), create=create, unlock=unlock)


def _postgres() -> ModuleType:
    try:
        from lightface.gallery import postgres
    except ImportError as error:  # an extra that most do without
        raise GalleryError(
            f"a gallery in PostgreSQL needs psycopg and pgvector ({error}); install lightface's extra 'postgres'"
        ) from error
    return postgres
