from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from lightface.errors import ConfigError
from lightface.models.registry import shipped_folder
from lightface.training.config import (
    GroupColumn,
    TrainingConfig,
    build_record,
    dump_config,
    dump_record,
    load_config,
    read_config,
    replace_objective,
)
from lightface.training.objectives.classification import ArcFaceSettings, SoftmaxSettings

GROUPS = "[data]\nfolder = 'a'\n[data.groups]\ncolumns = [{ name = 'sex' }]\n"
RECIPES = sorted((shipped_folder() / "recipes").glob("*.toml"))


def load(folder: Path, text: str) -> TrainingConfig:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def test_the_defaults_are_those_of_the_authors() -> None:
    config = TrainingConfig()
    network, optimiser, schedule = config.network, config.optimiser, config.schedule
    assert (network.architecture, network.pooling, network.padding, network.dropout) == ("lightcnn9", None, "same", 0.5)
    assert (network.norm, network.inner_dropout) == (False, 0.0)
    assert config.objectives.softmax == SoftmaxSettings(weight=1.0, label_smoothing=0.0)
    assert (optimiser.kind, optimiser.learning_rate, optimiser.momentum) == ("sgd", 0.01, 0.9)
    assert (optimiser.weight_decay, optimiser.bias_rate, optimiser.classifier_rate) == (1e-4, 2, 10)
    assert (schedule.kind, schedule.epochs, schedule.step_epochs) == ("step", 80, 10)
    assert [(stage.size_px, stage.batch_size) for stage in config.stages] == [(128, 128)]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_load(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe)
    copy = load(tmp_path, dump_config(config))
    assert copy == config


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {"lightcnn9", "lightcnn9-gpu", "lightcnn29v2", "people", "smoke", "study"}


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    config = load(tmp_path, '[data]\nfolder = "crops"\ncache = "../cache"\nteachers = ["t.npy"]')
    assert config.data.folder == tmp_path / "crops"
    assert config.data.cache == tmp_path.parent / "cache"
    assert config.data.teachers == (Path("t.npy"),)


def test_a_file_to_start_from_is_relative_to_the_recipe(tmp_path: Path) -> None:
    assert load(tmp_path, '[network]\nstart_from = "before/last.pt"').network.start_from == f"{tmp_path}/before/last.pt"
    assert load(tmp_path, '[network]\nstart_from = "lightcnn9"').network.start_from == "lightcnn9"


def test_several_folders_and_a_file_for_each(tmp_path: Path) -> None:
    text = """
        [data]
        folder = ["../a", "b"]
        teachers = ["t.npy", ["../u-a.npy", ""], ["", "v.npy"]]
        centre_teachers = [true, false, true]
        [data.groups]
        table = "labels.csv"
        columns = [{ name = "age", bounds = [3, 13] }, { name = "sex" }]
        cells = [{ labels = ["from 3", "male"], share = 2 }]
        """
    config = load(tmp_path, text)
    a, b = tmp_path.parent / "a", tmp_path / "b"
    assert config.data.folder == config.data.folders == (a, b)
    found = [config.data.find_files(teacher) for teacher in config.data.teachers]
    assert found == [(a / "t.npy", None), (a / "../u-a.npy", None), (None, b / "v.npy")]
    assert config.data.groups is not None
    assert config.data.groups.columns == (GroupColumn("age", (3, 13)), GroupColumn("sex"))
    assert load(tmp_path, dump_config(config)) == config
    with pytest.raises(ConfigError, match="teachers has a list of 2 files for 1 data folder"):
        load_config(tmp_path / "recipe.toml", folder=tmp_path)
    assert load(tmp_path, "[data]\nfolder = 'a'").data.folders == (tmp_path / "a",)


def test_the_folder_can_be_named_from_outside(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[data]\nfolder = "crops"')
    assert load_config(tmp_path / "recipe.toml", folder=tmp_path).data.folder == tmp_path


def test_an_objective_takes_the_place_of_another(tmp_path: Path) -> None:
    config = load(tmp_path, "[objectives.softmax]\n[objectives.cosine]\nweight = 2.0")
    changed = replace_objective(config, "arcface").objectives
    assert changed.softmax is None
    assert changed.arcface == ArcFaceSettings()
    assert changed.cosine == config.objectives.cosine
    kept = load(tmp_path, "[objectives.arcface]\nscale = 32")
    assert replace_objective(kept, "arcface") == kept
    with pytest.raises(ConfigError, match="'triplet'; choose from softmax, cosface, arcface"):
        replace_objective(config, "triplet")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[optimiser]\nlr = 0.1", "unknown key 'lr'"),
        ("[network]\narchitecture = 'resnet'", "architecture is 'resnet'; choose from lightcnn9"),
        ("[network]\ndropout = 1.0", "dropout is 1.0"),
        ("[data]\nteachers = ['a', 'b']\nteacher_weights = [1.0]", "there are 2 teachers and 1 weight"),
        ("[data]\nteachers = ['a']\ncentre_teachers = [true, false]", "there are 1 teacher and 2 values in centre"),
        ("[data]\nfolder = []", "folder is []; name one or more data folders, each once"),
        ("[data]\nfolder = ['a', 'a']", "name one or more data folders, each once"),
        ("[data]\nfolder = ['a', 3]", "folder[1] is 3; expected a path"),
        (
            "[data]\nfolder = ['a', 'b']\nteachers = [['t', 't', 't']]",
            "teachers has a list of 3 files for 2 data folders",
        ),
        ("[data]\nfolder = 'a'\nteachers = [['t', 'u']]", "teachers has a list of 2 files for 1 data folder"),
        ("[data]\nfolder = ['a', 'b']\nteachers = [['', '']]", "teachers names no file; name one, or leave it out"),
        (f"{GROUPS}table = ['t', 't']", "table has a list of 2 files for 1 data folder"),
        ("[data.groups]\ntable = 't'\ncolumns = []", "the columns of groups are []; name one or more, each once"),
        ("[data.groups]\ntable = 't'\ncolumns = [{ name = 'a' }, { name = 'a' }]", "name one or more, each once"),
        (
            "[data.groups]\ntable = 't'\ncolumns = [{ name = 'a', bounds = [3, 3] }]",
            "bounds of 'a' is [3.0, 3.0]; it must",
        ),
        ("[data.groups]\ntable = 't'\ncolumns = [{ name = 'a', bounds = [nan] }]", "bounds of 'a' is [nan]; it must"),
        ("[data.groups]\ncolumns = [{ name = 'a' }]", "missing 1 required"),
        (f"{GROUPS}table = 't'\nlabelled_share = 0.0", "labelled_share is 0.0; it must be above 0"),
        (f"{GROUPS}table = 't'\nmost_repeats = 0.5", "most_repeats is 0.5; it must be 1 or more"),
        (f"{GROUPS}table = 't'\ngrouped_batches = 1.5", "grouped_batches is 1.5; it must lie in 0..1"),
        (f"{GROUPS}table = 't'\ncells = [{{ labels = ['x', 'y'], share = 2 }}]", "needs a label for each of sex"),
        (f"{GROUPS}table = 't'\ncells = [{{ labels = ['x'], share = 0 }}]", "share of 'x' is 0.0; it must be above 0"),
        ("[optimiser]\nbetas = [0.9, 1.0]", "betas is (0.9, 1.0); it must lie in 0..1"),
        ("[optimiser]\nmomentum = -0.1", "momentum is -0.1"),
        ("[augmentation]\nscale = 1.0", "scale is 1.0; it must be below 1"),
        ("[objectives.cosface]\nweight = -1.0", "the weight of cosface is -1.0"),
        ("stages = [{ size_px = 48 }]\n[network]\npadding = 'valid'", "size_px is 48; it must be 64 or more"),
        ("[data]\nteachers = ['a']\nteacher_weights = [0.0]", "teacher_weights is [0.0]; it must be above 0"),
        ("[network]\npooling = 'mean'", "choose from max, avg, max+avg, stochastic"),
        ("stages = [{ share = 0.5 }]", "shares of the 1 stages do not add to 1"),
        ("stages = [{ windows_px = [[96, 100]] }]", "windows_px is 100; it must be a multiple of 16 up to"),
        ("stages = [{ size_px = 64, windows_px = [[96, 96]] }]", "up to a size_px of 128"),
        ("stages = [{ windows_px = [[96, 96]] }]\n[network]\npadding = 'full'", "windows_px needs padding same"),
        ("stages = [{ size_px = 100 }]", "size_px is 100; it must be a multiple of 16 up to 128"),
        ("stages = [{ batch_size = 1 }]", "batch_size is 1; it must be 2 or more"),
        ("ema_decay = 1.5", "ema_decay is 1.5"),
        ("accumulate = 0", "accumulate is 0"),
        ("[schedule]\nepochs = 0", "epochs is 0"),
        ("[data]\nvalidation_share = 0.0", "validation_share is 0.0"),
        ("[augmentation]\nflip = 2", "flip is 2.0; it must lie in 0..1"),
        ("[augmentation]\nblur_sigma_px = [2, 1]", "blur_sigma_px is 2.0, 1.0; give the smaller first"),
        ("[augmentation]\nshift = -1", "shift is -1.0; it must be 0 or more"),
        ("[objectives.cosface]\nmargin = 1.0", "a CosFace margin must lie in 0..1"),
        ("[objectives.arcface]\nmargin = 2.0", "an ArcFace margin must lie in 0..1.57"),
        ("[objectives.softmax]\nlabel_smoothing = 1.0", "label_smoothing is 1.0"),
        ("[objectives.cosface]\nlabel_smoothing = 1.0", "label_smoothing is 1.0"),
        ("[objectives.arcface]\nlabel_smoothing = 1.0", "label_smoothing is 1.0"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert message in str(caught.value)


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    pair: tuple[int, int] = (1, 2)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ConfigError(f"rate is {self.rate}; it must be 0 or more")


@dataclass(frozen=True)
class Outer:
    name: str = "a"
    kind: Literal["x", "y"] = "x"
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    items: tuple[Inner, ...] = ()
    folder: Path | None = None
    on: bool = False


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, ""), Outer) == Outer()


def test_every_kind_of_value(tmp_path: Path) -> None:
    text = """
        name = "b"
        kind = "y"
        folder = "some/where"
        on = true
        items = [{ rate = 1 }, { pair = [3, 4] }]
        [inner]
        rate = 2
        [maybe]
    """
    expected = Outer(
        "b", "y", Inner(rate=2.0), Inner(), (Inner(rate=1.0), Inner(pair=(3, 4))), Path("some/where"), on=True
    )
    read = read_config(write(tmp_path, text), Outer)
    assert read == expected
    assert isinstance(read.inner.rate, float)


def test_a_dumped_record_reads_back(tmp_path: Path) -> None:
    record = Outer(items=(Inner(0.25),), maybe=Inner(), folder=Path("a b"))
    assert read_config(write(tmp_path, dump_record(record)), Outer) == record


def test_a_text_of_several_lines_is_written_as_such(tmp_path: Path) -> None:
    record = Outer(name='\nOne "quoted" line,\n\tanother \\ with """ and a last one.\n')
    dumped = dump_record(record)
    assert " line,\n" in dumped
    assert read_config(write(tmp_path, dumped), Outer) == record


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nmae = 'b'", "recipe.toml: unknown key 'nmae'; did you mean 'name'?"),
        ("[inner]\nzzz = 1", "recipe.toml: inner: unknown key 'zzz'; known are: rate, pair"),
        ("[maybe]\nrate = -1", "recipe.toml: maybe: rate is -1.0; it must be 0 or more"),
        ("kind = 'z'", "recipe.toml: kind is 'z'; choose from x, y"),
        ("name = 3", "recipe.toml: name is 3; expected a text"),
        ("on = 1", "recipe.toml: on is 1; expected true or false"),
        ("[inner]\nrate = true", "recipe.toml: inner: rate is True; expected a number"),
        ("inner = 3", "recipe.toml: inner is 3; expected a table"),
        ("items = 3", "recipe.toml: items is 3; expected a list"),
        ("items = [{}, 4]", "recipe.toml: items[1] is 4; expected a table"),
        ("[inner]\npair = [1]", "recipe.toml: inner: pair is [1]; expected 2 values"),
        ("[inner", "cannot read the configuration"),
    ],
)
def test_what_is_refused_of_any_record(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(tmp_path, text), Outer)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration file"):
        read_config(tmp_path / "nowhere.toml", Outer)


def test_a_key_without_default_must_be_there() -> None:
    @dataclass(frozen=True)
    class Needs:
        size: int

    with pytest.raises(ConfigError, match="size"):
        build_record({}, Needs, where="table")
