"""Every door through which a file from elsewhere comes in: how to make a good file, and who opens it."""

from __future__ import annotations

import csv
import json
import pickle
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from lightface.cli.settings import CONFIG_VARIABLE, load_settings
from lightface.crops import ShardReader, read_index
from lightface.errors import FaceNotFoundError
from lightface.evaluation.protocols import read_protocol
from lightface.gallery import NewSample, open_gallery
from lightface.images import load_photo
from lightface.metadata.digikam import read_digikam
from lightface.metadata.picasa import read_picasa
from lightface.metadata.reading import PhotoNames, read_names
from lightface.metadata.writing import XmpPlace, write_names
from lightface.models.weights import read_checkpoint
from lightface.pipeline.named_faces import NamedFace
from lightface.records import Status
from lightface.tables import FaceRow, read_faces, write_faces
from lightface.training.config import load_config
from lightface.training.data import load_teachers
from lightface.training.run_folder import load_checkpoint

RANDOM = np.random.default_rng(0)


@dataclass(frozen=True)
class Door:
    """`make` writes a good file to a path of this name, `enter` reads it, in a folder that it may change."""

    name: str
    make: Callable[[Path], None]
    enter: Callable[[Path], object]


def _picture(kind: str, **options: object) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        pixels = np.kron(RANDOM.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        icc = RANDOM.bytes(200) if kind in ("JPEG", "PNG", "TIFF") else None
        metadata = {"exif": exif, "icc_profile": icc} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
        Image.fromarray(pixels).save(path, kind, **metadata, **options)

    return make


def _many_frames(path: Path) -> None:
    frames = [Image.fromarray(RANDOM.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(8)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:], loop=0)


def _safetensors(path: Path) -> None:
    state = {"features.0.filter.weight": torch.zeros(96, 1, 5, 5)}
    path.write_bytes(safetensors.torch.save(state, metadata={"lightface": json.dumps({})}))


def _torch_file(*, zipped: bool) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        state = {"module.features.0.filter.weight": torch.zeros(2, 3), "module.fc2.bias": torch.ones(4)}
        torch.save({"state_dict": state, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)

    return make


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def _insightface(path: Path) -> None:
    picture = BytesIO()
    Image.new("RGB", (112, 112), "gray").save(picture, "JPEG")
    path.write_bytes(pickle.dumps(([picture.getvalue()] * 4, [True, False]), protocol=4))


def _index(path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["shard", "name", "identity", "split", "source"])
        rows.writerows(["crops.zip", f"{i}.webp", f"person {i % 3}", "train", "drawn"] for i in range(9))


def _index_table(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"shard": ["a.zip", "b.zip"], "name": ["1.png", "2.png"], "identity": ["x", None]}), path)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as shard:
        shard.writestr("a.png", b"a picture" * 20)
        shard.writestr("b.png", b"another one" * 20)


def _tar(path: Path) -> None:
    with tarfile.TarFile(path, "w") as shard:
        for name in ("a.png", "b.png"):
            entry = tarfile.TarInfo(name)
            entry.size = 180
            shard.addfile(entry, BytesIO(b"a picture" * 20))


def _read_members(path: Path) -> None:
    with ShardReader() as shards:
        for member in ("a.png", "b.png"):
            shards.read(path, member)


def _faces(path: Path) -> None:
    vector = np.zeros(256, np.float32)
    vector[3] = 1
    box, points = (1.0, 2.0, 30.0, 40.0), np.arange(10.0, dtype=np.float32).reshape(5, 2)
    row = FaceRow(
        image_path=Path("a.jpg"), face_index=0, bbox=box, landmarks=points, det_score=0.99, quality=0.5,
        embedding=vector, model_id="net:0", status=Status.EMBEDDED,
    )  # fmt: skip
    write_faces(path, [row, FaceRow(image_path=Path("b.jpg"), status=Status.REJECTED, error="face_not_found")])


def _gallery(path: Path) -> None:
    with open_gallery(path, model_id="net:0", create=True) as gallery:
        for number, name in enumerate(["Ada", "Bo"]):
            vector = np.zeros(256, np.float32)
            vector[number] = 1
            gallery.enroll(
                name, [NewSample(vector=vector, model_id="net:0", source_path="a.jpg", image_sha256=f"{number:064x}")]
            )


def _read_gallery(path: Path) -> None:
    with open_gallery(path) as gallery:
        gallery.matrix()
        gallery.stats()
        gallery.samples()


def _export(path: Path) -> None:
    _gallery(path.with_suffix(".source"))
    with open_gallery(path.with_suffix(".source")) as gallery:
        gallery.export_to(path)


def _import(path: Path) -> None:
    place = path.with_suffix(".new")
    place.unlink(missing_ok=True)
    with open_gallery(place, create=True) as gallery:
        gallery.import_from(path)


def _read_lfw(path: Path) -> None:
    (path.parent / "Ada").mkdir(exist_ok=True)  # where the list's pictures would be
    read_protocol(path)


_RECIPE = '[network]\narchitecture = "lightcnn9"\ndropout = 0.5\n[schedule]\nepochs = 3\n[[stages]]\nsize_px = 64\n'
_SETTINGS = 'gallery = "people.sqlite"\nmin-face-size = 40\nthreshold = 0.5\n'
_PAIRS = "path_a,path_b,same\na.jpg,b.jpg,1\nc.jpg,d.jpg,0\n"


def _settings(path: Path) -> object:
    return load_settings({}, {CONFIG_VARIABLE: str(path)})


# Names of faces, of other programs and of lightface's own.


_ADA = [NamedFace("Ada", (4.0, 4.0, 20.0, 30.0))]
_PICASA = "[Contacts2]\n1a=Ada;;\n[photo.jpg]\nfaces=rect64(1111222233334444),1a;rect64(5555555566667777),2b\n"
_DIGIKAM = """
    CREATE TABLE AlbumRoots (id, identifier, specificPath); INSERT INTO AlbumRoots VALUES (1, 'volumeid:?path=/', '/');
    CREATE TABLE Albums (id, albumRoot, relativePath); INSERT INTO Albums VALUES (1, 1, '/');
    CREATE TABLE Images (id, album, name, status); INSERT INTO Images VALUES (1, 1, 'photo.jpg', 1);
    CREATE TABLE ImageInformation (imageid, width, height); INSERT INTO ImageInformation VALUES (1, 64, 48);
    CREATE TABLE Tags (id, name); INSERT INTO Tags VALUES (1, 'Ada');
    CREATE TABLE TagProperties (tagid, property);
    CREATE TABLE ImageTagProperties (imageid, tagid, property, value);
    INSERT INTO ImageTagProperties VALUES (1, 1, 'tagRegion', '<rect x="1" y="2" width="30" height="40"/>');
"""


def _named(path: Path) -> None:
    _picture("JPEG")(path)
    write_names(path, _ADA, place=XmpPlace.EMBED)


def _sidecar(path: Path) -> None:
    _picture("JPEG")(path.with_suffix(""))
    write_names(path.with_suffix(""), _ADA)


def _digikam(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_DIGIKAM)


def _take(found: Sequence[PhotoNames]) -> None:
    """As the command line does: what is wrong is told, and so is that nobody is named."""
    for one in found:
        for error in one.errors:
            raise error
    if not any(one.faces for one in found):
        raise FaceNotFoundError("no face is named")


def _read_and_name(path: Path) -> None:
    _take([read_names(path)])
    write_names(path, _ADA, place=XmpPlace.EMBED)


def _read_and_name_beside(path: Path) -> None:
    _picture("JPEG")(path.with_suffix(""))
    write_names(path.with_suffix(""), [NamedFace("Bo", (30.0, 10.0, 40.0, 20.0))])
    _take([read_names(path.with_suffix(""))])


def _read_picasa(path: Path) -> None:
    _picture("JPEG")(path.with_name("photo.jpg"))
    _take(read_picasa(path.parent))


def _read_contacts(path: Path) -> None:
    path.with_name(".picasa.ini").write_text(_PICASA)
    _picture("JPEG")(path.with_name("photo.jpg"))
    _take(read_picasa(path.parent, contacts=path))


def _read_digikam(path: Path) -> None:
    _picture("JPEG")(path.with_name("photo.jpg"))
    _take(read_digikam(path, photos=path.parent))


DOORS = [
    *(Door(f"photo.{kind}", _picture(kind.upper()), load_photo) for kind in ("png", "webp", "bmp", "tiff")),
    Door("photo.jpg", _picture("JPEG"), load_photo),
    Door("progressive.jpg", _picture("JPEG", progressive=True), load_photo),
    Door("film.gif", _many_frames, load_photo),
    Door("net.safetensors", _safetensors, lambda path: read_checkpoint(path, name="x")),
    Door("net.pth", _torch_file(zipped=True), lambda path: read_checkpoint(path, name="x")),
    Door("net.pth.tar", _torch_file(zipped=False), lambda path: read_checkpoint(path, name="x")),
    Door("last.pt", _torch_file(zipped=True), lambda path: load_checkpoint(path, device=torch.device("cpu"))),
    Door("pairs.txt", _text("1\nAda\t1\t2\nAda\t1\tBo\t2\n"), _read_lfw),
    Door("pairs.csv", _text(_PAIRS), read_protocol),
    Door("lfw.bin", _insightface, read_protocol),
    Door("index.csv", _index, read_index),
    Door("index.parquet", _index_table, read_index),
    Door("shard.zip", _zip, _read_members),
    Door("shard.tar", _tar, _read_members),
    Door("teacher.npy", lambda path: np.save(path, np.ones((3, 4), np.float32)), lambda p: load_teachers([[p]], [3])),
    Door("recipe.toml", _text(_RECIPE), load_config),
    Door("config.toml", _text(_SETTINGS), _settings),
    *(Door(f"faces.{suffix}", _faces, read_faces) for suffix in ("csv", "jsonl", "parquet", "npz")),
    Door("people.gallery", _gallery, _read_gallery),
    Door("people.jsonl", _export, _import),
    Door("named.jpg", _named, _read_and_name),
    Door("beside.jpg.xmp", _sidecar, _read_and_name_beside),
    Door(".picasa.ini", _text(_PICASA), _read_picasa),
    Door("people.xml", _text('<contacts><contact id="2b" name="Bo" display="B"/></contacts>'), _read_contacts),
    Door("digikam4.db", _digikam, _read_digikam),
]
