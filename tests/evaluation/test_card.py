from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightface.errors import WeightsError
from lightface.evaluation.evaluate import Evaluation
from lightface.evaluation.summary import summarise, to_card_section
from lightface.models.registry import find_weights, place_section, write_card_section

CARD = "# drawn\n\n## Measured\n\nMuch.\n\n## Limits\n\nMany.\n"


def test_the_section_has_every_figure(evaluation: Evaluation) -> None:
    section = to_card_section(evaluation)
    assert section.startswith(f"## Evaluated: {evaluation.pairs.source.name} ({evaluation.pairs.name})\n")
    for row in summarise(evaluation.figures):
        assert f"| {row.name} | {row.value} | {row.interval} | {row.threshold} |\n" in section
    assert "| rank-1 |" in section
    assert f"{evaluation.figures.genuine:,} pairs of one person" in section
    assert "1 of 49 pictures failed" in section


def test_a_section_is_placed_once_and_replaced_after() -> None:
    one, other = "## Evaluated: a (people)\n\nfirst\n\n", "## Evaluated: b (lfw)\n\nfirst\n\n"
    card = place_section(place_section(CARD, one), other)
    assert card == CARD.replace("## Limits", f"{one}{other}## Limits")
    again = place_section(card, one.replace("first", "second"))
    assert again == card.replace("(people)\n\nfirst", "(people)\n\nsecond")
    assert place_section("# imported\n", one) == "# imported\n\n## Evaluated: a (people)\n\nfirst\n"


def test_a_last_section_is_replaced_too() -> None:
    card = place_section("# imported\n", "## Evaluated: a (people)\n\nfirst\n\n")
    assert place_section(card, "## Evaluated: a (people)\n\nsecond\n\n").strip().endswith("second")


def test_the_card_beside_the_weights_is_written(evaluation: Evaluation, tmp_path: Path) -> None:
    record = replace(find_weights("lightcnn9"), file=tmp_path / "w.safetensors", card="w.md")
    (tmp_path / "w.md").write_text(CARD)
    write_card_section(record, to_card_section(evaluation))
    assert record.read_card() == place_section(CARD, to_card_section(evaluation))
    with pytest.raises(WeightsError, match="'lightcnn9' have no model card"):
        write_card_section(replace(record, card=""), "## Evaluated")
