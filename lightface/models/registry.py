"""The registry of weights: what each file is, what it expects and what it was measured to do.

Two TOML files of one form: the one shipped with lightface and the one in the user's data folder, which
`models import` writes. Reading them needs no torch.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from lightface.errors import ChecksumError, OutputError, WeightsError
from lightface.files import make_folder, open_regular, read_regular, write_private
from lightface.folders import data_folder
from lightface.frame import EMBEDDING_SIZE
from lightface.models.recognisability import Recognisability
from lightface.records import Frame, InputContract

DEFAULT_WEIGHTS = "lightcnn9"
DEFAULT_FAR = "1e-3"  # of a record's thresholds, the one that holds when nobody says more
_REGISTRY_FILE = "registry.toml"
_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """One weights file."""

    name: str
    architecture: str  # a key of `lightface.models.lightcnn.ARCHITECTURES`
    pooling: str
    padding: str
    file: Path  # safetensors
    sha256: str  # hexadecimal, of the file's bytes
    contract: InputContract = InputContract()
    flip: bool = False  # whether the embedding of the mirror image is added, in what was measured and by default
    embedding_size: int = EMBEDDING_SIZE
    licence: str = ""
    training_data: str = ""
    measured_on: str = ""  # whose pairs the thresholds are of: what they promise holds for such people
    card: str = ""  # file name of the model card beside the weights; "" for none
    accuracy: Mapping[str, float] = field(default_factory=dict)  # what was measured -> figure
    thresholds: Mapping[str, float] = field(default_factory=dict)  # FAR, as "1e-3" -> cosine
    recognisability: Recognisability | None = None  # None: not known, nothing is refused for it

    def __post_init__(self) -> None:
        if self.recognisability is not None and self.recognisability.embedding_size != self.embedding_size:
            raise ValueError(f"its recognisability is not of embeddings of {self.embedding_size} numbers")

    @property
    def model_id(self) -> str:
        """Name, checksum prefix and flip averaging: embeddings are comparable where this is equal."""
        return f"{self.name}-{self.sha256[:12]}{'+flip' if self.flip else ''}"

    def with_flip(self, flip: bool | None) -> WeightsRecord:
        """The same weights with or without flip averaging; figures and thresholds hold for the record's own choice.

        None keeps that choice.
        """
        if flip is None or flip == self.flip:
            return self
        return replace(self, flip=flip, accuracy={}, thresholds={})

    def read_card(self) -> str:
        """The model card (Markdown), or "" where there is none."""
        return (self.file.parent / self.card).read_text(encoding="utf-8", errors="replace") if self.card else ""


def find_record(model_id: str) -> WeightsRecord | None:
    """The registered weights that make embeddings of that id, flip averaging included; None where there are none."""
    known = [record.with_flip(flip) for record in list_weights() for flip in (False, True)]
    return next((record for record in known if record.model_id == model_id), None)


def list_weights() -> list[WeightsRecord]:
    """Every record, the shipped ones first. WeightsError where a registry file is damaged."""
    records = _read_registry(shipped_folder())
    shipped_names = {record.name for record in records}
    imported = _read_registry(imported_folder())
    return records + [record for record in imported if record.name not in shipped_names]


def find_weights(name: str) -> WeightsRecord:
    """The record of that name; WeightsError lists the known names."""
    records = list_weights()
    for record in records:
        if record.name == name:
            return record
    known = ", ".join(record.name for record in records) or "none"
    raise WeightsError(f"unknown weights {name!r}; choose from: {known}, or add a checkpoint with 'models import'")


def verify_weights(record: WeightsRecord) -> None:
    """ChecksumError when the file's bytes are not those of the record; WeightsError when it cannot be read."""
    try:
        with open_regular(record.file) as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read the weights {record.file}: {error.strerror or error}") from error
    if actual != record.sha256:
        raise ChecksumError(
            f"{record.file} is not the file that was registered as {record.name!r} "
            f"(SHA-256 {actual[:12]}..., expected {record.sha256[:12]}...); restore or import it again"
        )


def check_name(name: str) -> None:
    """WeightsError unless `name` is well-formed."""
    if not _NAME_PATTERN.fullmatch(name):
        raise WeightsError(
            f"{name!r} is no name for weights; use letters, digits, '.', '_' and '-' (at most 64) for `name`"
        )


def check_new_name(name: str) -> None:
    """WeightsError unless `name` is well-formed and free."""
    check_name(name)
    if any(record.name == name for record in list_weights()):
        raise WeightsError(f"weights named {name!r} exist already; choose another `name`")


def register_weights(record: WeightsRecord, folder: Path) -> None:
    """Add the record to the registry of `folder`, or replace the one of its name. OutputError when that fails."""
    records = [known for known in _read_registry(folder) if known.name != record.name]
    tables = {known.name: _to_table(known) for known in [*records, record]}
    write_model_file(folder / _REGISTRY_FILE, tomli_w.dumps(tables).encode())


def write_model_file(path: Path, data: bytes) -> None:
    """Write a file of a models folder, which is made if missing. OutputError when that fails."""
    try:
        make_folder(path.parent)
        with write_private(path) as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


# Model cards: Markdown beside the weights. `lightface train` writes one, evaluations add a section for each data set.


_BEFORE = "## Limits"  # the sections of evaluations come here, or at the end where there is none


def check_card(record: WeightsRecord) -> None:
    """Raise WeightsError now for weights without a card."""
    if not record.card:
        raise WeightsError(f"the weights {record.name!r} have no model card to write the figures into")


def write_card(record: WeightsRecord, text: str) -> None:
    """Write the model card of `record`. Raises as `check_card`, and OutputError where it cannot be written."""
    check_card(record)
    write_model_file(record.file.parent / record.card, text.encode())


def write_card_section(record: WeightsRecord, section: str) -> None:
    """Add a section of Markdown to the card of `record`, or replace the one of its heading. Raises as `write_card`."""
    write_card(record, place_section(record.read_card(), section))


def place_section(card: str, section: str) -> str:
    """The card with the section in the place of the one with its heading, or before the limits."""
    heading = section.split("\n", 1)[0]
    old = re.search(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    if old is not None:
        return card[: old.start()] + section + card[old.end() :]
    start, found, rest = card.partition(f"{_BEFORE}\n")
    if found:
        return f"{start}{section}{found}{rest}"
    return f"{card.rstrip()}\n\n{section.rstrip()}\n"


def shipped_folder() -> Path:
    """`weights/` of the checkout, or its copy in an installed package."""
    package = Path(__file__).parents[1]
    installed = package / "shipped_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def imported_folder() -> Path:
    """Where `models import` puts weights: the user's data folder."""
    return data_folder() / "models"


def _read_registry(folder: Path) -> list[WeightsRecord]:
    path = folder / _REGISTRY_FILE
    try:
        tables = tomllib.loads(read_regular(path).decode())
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WeightsError(f"cannot read the registry of weights {path}: {error}") from error
    return [_from_table(name, table, path) for name, table in tables.items()]


def _to_table(record: WeightsRecord) -> dict[str, Any]:
    table = asdict(replace(record, file=Path(record.file.name)))
    table["file"] = str(table["file"])
    del table["name"]
    return {key: value for key, value in table.items() if value not in ("", {}, None)}


def _from_table(name: str, table: Any, path: Path) -> WeightsRecord:
    """Strict: a missing or unknown key is an error, since a wrong frame or order silently costs accuracy."""
    try:
        unknown = table.keys() - {known.name for known in fields(WeightsRecord)}
        if unknown:
            raise WeightsError(f"{path}: unknown key {sorted(unknown)[0]!r} in [{name}]")
        contract = dict(table["contract"])
        contract["frame"] = Frame(**contract["frame"])
        settled = {"name": name, "file": path.parent / Path(table["file"]).name, "contract": InputContract(**contract)}
        if "recognisability" in table:
            settled["recognisability"] = Recognisability(**table["recognisability"])
        return WeightsRecord(**{**table, **settled})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: the record [{name}] is damaged ({error})") from error
