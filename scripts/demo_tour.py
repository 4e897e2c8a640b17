"""The tour behind scripts/demo: lightface's four jobs through its command line, on two public-domain portraits.

Rear Admiral Grace Hopper comes with matplotlib, astronaut Eileen Collins with scikit-image. One portrait of each is
enrolled; variants of it (turned, darkened, mirrored, small, with EXIF orientation) are the probes. Every answer is held
against the truth, and a wrong one makes the exit code 1. All results go to demo-output/.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.cbook
import skimage.data
from PIL import ExifTags, Image, ImageEnhance, ImageOps
from rich.console import Console
from rich.table import Table

from lightface.gallery import open_gallery
from lightface.models.registry import DEFAULT_WEIGHTS, find_weights

OUTPUT = Path("demo-output")
PEOPLE, PROBES = OUTPUT / "people", OUTPUT / "probes"
GALLERY, ANSWERS = OUTPUT / "gallery.sqlite", OUTPUT / "answers.csv"
FACES, ANNOTATED = OUTPUT / "faces.parquet", OUTPUT / "both-annotated.png"
README_FOLDER = OUTPUT / "readme"

HOPPER, COLLINS = "Grace Hopper", "Eileen Collins"

VARIANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "turned 20 degrees": lambda image: image.rotate(20, Image.Resampling.BICUBIC, expand=True),
    "darkened": lambda image: ImageEnhance.Brightness(image).enhance(0.4),
    "mirrored": ImageOps.mirror,
    "small": lambda image: image.resize((image.width * 2 // 5, image.height * 2 // 5), Image.Resampling.LANCZOS),
    "EXIF-rotated": lambda image: image.transpose(Image.Transpose.ROTATE_90),  # and a note how to turn it back
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One question put to lightface."""

    question: str
    expected: str
    given: str
    similarity: str  # as it was printed

    @property
    def is_right(self) -> bool:
        return self.given == self.expected


def main() -> int:
    make_photographs()
    make_readme_folder(README_FOLDER)
    print(f"$ export LIGHTFACE_GALLERY={GALLERY}")
    answers = [*enroll_and_verify(), *identify()]
    embed()
    return report(answers)


def make_photographs() -> None:
    """Portraits to enroll, probes, and one picture of both. What is there already is kept."""
    hopper, collins = Image.open(hopper_path()).convert("RGB"), Image.fromarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]
    for name, portrait in ((HOPPER, hopper), (COLLINS, collins)):
        save(portrait, PEOPLE / name / "portrait.jpg")
        for variant, change in VARIANTS.items():
            save(change(portrait), PROBES / f"{name}, {variant}.jpg", orientation=6 if "EXIF" in variant else 1)
    both = Image.new("RGB", (hopper.width + collins.width, hopper.height), "white")
    both.paste(hopper, (0, 0))
    both.paste(collins, (hopper.width, both.height - collins.height))
    save(both, OUTPUT / "both.jpg")


def make_readme_folder(folder: Path) -> None:
    """The photographs and the list of pairs that the README's examples are typed on."""
    hopper, collins = Image.open(hopper_path()).convert("RGB"), Image.fromarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]
    both = Image.new("RGB", (hopper.width + collins.width, hopper.height), "white")
    both.paste(hopper, (0, 0))
    both.paste(collins, (hopper.width, 0))
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    shutil.copy(hopper_path(), folder / "hopper.jpg")
    save(ImageOps.mirror(hopper), folder / "hopper2.jpg")
    save(collins, folder / "collins.jpg")
    for copy in (folder / "both.jpg", folder / "photos" / "both.jpg"):
        save(both, copy)
    pairs = [("hopper.jpg", "hopper2.jpg"), ("hopper.jpg", "collins.jpg"), ("hopper.jpg", "none.jpg")]
    (folder / "pairs.csv").write_text("".join(f"{a},{b}\n" for a, b in pairs))


def hopper_path() -> Path:
    return Path(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def save(image: Image.Image, path: Path, *, orientation: int = 1) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, quality=95, exif=exif)


def enroll_and_verify() -> Iterator[Answer]:
    bring_gallery_up_to_date()
    headline("Enroll: one portrait of each")
    lightface("enroll", "--people", PEOPLE)
    headline("Verify: are two photographs of one person?")
    hopper, collins = PEOPLE / HOPPER / "portrait.jpg", PEOPLE / COLLINS / "portrait.jpg"
    pairs = [
        (hopper, PROBES / f"{HOPPER}, mirrored.jpg", "same"),
        (collins, PROBES / f"{COLLINS}, turned 20 degrees.jpg", "same"),
        (hopper, collins, "different"),
    ]
    for photo_a, photo_b, expected in pairs:
        status, similarity = re.findall(r"(\w+): similarity (-?[\d.]+)", lightface("verify", photo_a, photo_b))[0]
        yield Answer(f"verify {title(photo_a)} / {title(photo_b)}", expected, status, similarity)


def bring_gallery_up_to_date() -> None:
    """Move the gallery of an earlier run to the weights of this lightface, where it was made with others."""
    if not GALLERY.exists():
        return
    with open_gallery(GALLERY) as gallery:
        made_with = gallery.model_id
    if made_with not in (None, find_weights(DEFAULT_WEIGHTS).model_id):
        headline(f"Reembed: the gallery of an earlier run is of {made_with}")
        lightface("gallery", "reembed", "--drop-unusable")


def identify() -> Iterator[Answer]:
    headline("Identify: who is on the probes?")
    lightface("identify", PROBES, "--output", ANSWERS)
    for row in read_answers():
        path = Path(row["image_path"])
        yield Answer(f"identify {title(path)}", title(path).split(",")[0], name_of(row), row["similarity"])
    headline("Identify: who is on the picture of both?")
    lightface("identify", OUTPUT / "both.jpg", "--draw", ANNOTATED, "--output", ANSWERS)
    for expected, row in zip((HOPPER, COLLINS), sorted(read_answers(), key=left_edge), strict=True):
        side = "left" if expected == HOPPER else "right"
        yield Answer(f"identify both, {side} face", expected, name_of(row), row["similarity"])


def embed() -> None:
    headline("Embed: every face of every photograph, into one Parquet file")
    lightface("embed", PEOPLE, PROBES, OUTPUT / "both.jpg", "--output", FACES)


def read_answers() -> list[dict[str, str]]:
    with ANSWERS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def left_edge(row: dict[str, str]) -> float:
    edges: list[float] = json.loads(row["bbox"])
    return edges[0]


def report(answers: list[Answer]) -> int:
    table = Table("", "question", "expected", "answer", "similarity", box=None)
    for answer in answers:
        mark = "[green]right" if answer.is_right else "[red]WRONG"
        rounded = f"{float(answer.similarity):.3f}" if answer.similarity else ""
        table.add_row(mark, answer.question, answer.expected, answer.given, rounded)
    console = Console(width=max(110, Console().width))
    console.rule("Right answers", align="left")
    console.print(table)
    right = sum(answer.is_right for answer in answers)
    print(f"\n{right} of {len(answers)} answers are right.")
    print(f"Look at {ANNOTATED} and {FACES}. Run ./scripts/demo again, and nothing is embedded twice.")
    print(f"The README's examples can be typed in {README_FOLDER}.")
    return 0 if right == len(answers) else 1


def title(photo: Path) -> str:
    return photo.parent.name if photo.stem == "portrait" else photo.stem


def name_of(row: dict[str, str]) -> str:
    return row["person_name"] or row["status"]


def headline(text: str) -> None:
    Console().rule(text, align="left")


def lightface(*arguments: object) -> str:
    """Run the real command line, show what it prints and return it. Exit code 1 (different, unknown) is an answer."""
    words = [str(argument) for argument in arguments]
    print(f"$ {shlex.join(['lightface', *words])}", flush=True)
    program = shutil.which("lightface")
    if program is None:
        sys.exit("demo: the lightface command is missing; run ./scripts/setup")
    environment = {**os.environ, "LIGHTFACE_GALLERY": str(GALLERY)}
    done = subprocess.run([program, *words], stdout=subprocess.PIPE, text=True, env=environment, check=False)
    print(done.stdout, end="", flush=True)
    if done.returncode not in (0, 1):
        sys.exit(1)  # it has said on stderr what the matter is
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
