"""The report as a browser shows it: figures, curves and pictures are read from the rendered page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from browser import Element, render
from faces_of_colour import HOSTILE_NAME, make_colour_pipeline

from lightface.evaluation.evaluate import Evaluation
from lightface.evaluation.summary import percent, summarise, summarise_rejects
from lightface.measurement.metrics import FoldAccuracy
from lightface.pages import cut_crops, render_page
from lightface.pages.charts import Chart, linear, logarithmic, probit
from lightface.pages.document import data_block

# Runs in the page, which itself allows no script: what was really laid out, written where the test finds it.
_PROBE = """<script>
const found = {
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  images: [...document.images].map(image => image.naturalWidth),
  curves: Object.fromEntries([...document.querySelectorAll('path[data-curve]')].map(path => {
    const box = path.getBoundingClientRect(), style = getComputedStyle(path);
    return [path.dataset.curve, {
      length: path.getTotalLength(), width: box.width, height: box.height, fill: style.fill, stroke: style.stroke
    }];
  })),
  alerts: document.querySelectorAll('img[onerror]').length,
};
document.body.dataset.probe = JSON.stringify(found);
</script>"""


@pytest.fixture(scope="module")
def html(evaluation: Evaluation) -> str:
    worst = (*evaluation.false_matches, *evaluation.false_non_matches)
    positions = [position for pair in worst for position in (pair.a, pair.b)]
    return render_page(evaluation, cut_crops(make_colour_pipeline(), evaluation.pairs, positions))


@pytest.fixture(scope="module")
def page(html: str, tmp_path_factory: pytest.TempPathFactory) -> Element:
    folder = tmp_path_factory.mktemp("page")
    probed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html).replace(
        "</body>", f"{_PROBE}</body>"
    )
    (folder / "report.html").write_text(probed, encoding="utf-8")
    return render(folder / "report.html", folder / "profile")


def test_the_figures_stand_in_the_page(page: Element, evaluation: Evaluation) -> None:
    shown = {row[0]: row[1:] for row in page.find("table", data_table="figures").rows()}
    for row in summarise(evaluation.figures):
        assert shown[row.name] == [row.value, row.interval, row.threshold]
    assert shown["TAR at FAR 1e-3"][0] == f"too few impostor pairs ({10_000 - 1056:,} more needed)"
    assert page.find("div", data_card="EER").find("b").text == percent(evaluation.figures.equal_error_rate.estimate)  # type: ignore[union-attr]
    assert evaluation.identification is not None
    identified = {row[0]: row[1] for row in page.find("table", data_table="identification").rows()}
    assert identified["rank-1"] == percent(evaluation.identification.rank_1.estimate)


def read_curve(page: Element, chart: str, curve: str) -> np.ndarray:
    """The points of a path, in pixels of the chart."""
    path = page.find("svg", data_chart=chart).find("path", data_curve=curve)
    return np.array(
        [[float(part) for part in point.split()] for point in re.findall(r"[-\d.]+ [-\d.]+", path.attributes["d"])]
    )


def read_tick(page: Element, chart: str, axis: str, value: str) -> float:
    """Where the axis says that a value lies."""
    return float(page.find("svg", data_chart=chart).find("g", data_axis=axis, data_value=value).attributes["data-at"])


@pytest.mark.parametrize(("tick", "far"), [("0.1", 0.1), ("0.01", 0.01)])
def test_the_roc_curve_passes_through_the_figures(page: Element, evaluation: Evaluation, tick: str, far: float) -> None:
    points = read_curve(page, "roc", "roc")
    assert (np.diff(points[:, 0]) >= 0).all() and (np.diff(points[:, 1]) <= 0).all()  # rises to the right
    at, none, all_ = (
        read_tick(page, "roc", "x", tick),
        read_tick(page, "roc", "y", "0"),
        read_tick(page, "roc", "y", "1"),
    )
    height = points[points[:, 0] <= at + 0.13, 1].min()  # a quarter of a pixel is the drawing's resolution
    (expected,) = [one.tar.estimate for one in evaluation.figures.tar_at_far if one.far == far and one.tar]
    assert (height - none) / (all_ - none) == pytest.approx(expected, abs=0.01)
    dot = page.find("g", data_dot=f"tar-at-{far:g}")
    assert float(dot.find("circle").attributes["cx"]) == pytest.approx(at, abs=0.01)
    assert dot.find("text").text == percent(expected)


def test_the_det_curve_crosses_the_diagonal_at_the_eer(page: Element, evaluation: Evaluation) -> None:
    points = read_curve(page, "det", "det")
    assert (np.diff(points[:, 0]) >= 0).all() and (np.diff(points[:, 1]) >= 0).all()  # falls to the right
    dot = page.find("g", data_dot="eer")
    assert dot.find("text").text == f"EER {percent(evaluation.figures.equal_error_rate.estimate)}"  # type: ignore[union-attr]
    x, y = (float(dot.find("circle").attributes[name]) for name in ("cx", "cy"))
    assert np.hypot(*(points - [x, y]).T).min() < 12
    start, end = (read_tick(page, "det", axis, "0.5") for axis in "xy")
    assert abs(end - y) / abs(start - x) == pytest.approx(312 / 482, abs=0.01)  # on the diagonal through equal ticks


def test_the_histogram_holds_every_pair_once(page: Element) -> None:
    none, step = (read_tick(page, "histogram", "y", value) for value in ("0", "0.05"))
    for kind in ("same person", "different people"):
        points = read_curve(page, "histogram", kind)[1:-1]
        steps = np.diff(points[:, 0])
        shares = 0.05 * (points[:-1, 1] - none) / (step - none)
        bin_width = (points[-1, 0] - points[0, 0]) / 70
        assert (shares * steps).sum() / bin_width == pytest.approx(1, abs=0.02)


def test_the_cmc_curve_begins_with_rank_1_and_never_falls(page: Element, evaluation: Evaluation) -> None:
    assert evaluation.identification is not None
    points = read_curve(page, "cmc", "cmc")
    assert len(points) <= len(evaluation.identification.cmc) and (np.diff(points[:, 1]) <= 0).all()
    dot = page.find("g", data_dot="rank-1").find("circle").attributes
    assert [float(dot["cx"]), float(dot["cy"])] == pytest.approx(points[0].tolist(), abs=0.2)


def test_the_errors_stand_over_the_share_rejected(page: Element, evaluation: Evaluation) -> None:
    curve = evaluation.rejects
    assert curve is not None and curve.without_worst_tenth is not None
    rows = page.find("table", data_table="rejects").rows()
    assert [row[3] for row in rows] == [percent(point.equal_error_rate) for point in curve.points]
    assert rows[4][0].startswith("10 %") and rows[4][1] == f"{curve.without_worst_tenth.lowest_quality:.2f}"
    assert page.find("table", data_table="worst tenth").rows() == [list(row) for row in summarise_rejects(curve)]
    points = read_curve(page, "rejects", "EER")
    none, tenth = (read_tick(page, "rejects", "y", value) for value in ("0", "0.1"))
    heights = (points[:, 1] - none) / (tenth - none) * 0.1
    assert heights[[0, -1]] == pytest.approx(
        [curve.points[0].equal_error_rate, curve.points[-1].equal_error_rate], abs=0.001
    )


def test_everything_is_really_drawn(page: Element) -> None:
    probe = json.loads(page.find("body").attributes["data-probe"])
    assert probe["overflow"] == 0
    assert set(probe["curves"]) == {
        *("roc", "det", "cmc", "same person", "different people"),
        *("EER", "FRR at FAR 1e-1", "FRR at FAR 1e-2"),
    }
    for name, drawn in probe["curves"].items():
        assert drawn["length"] > 300 and drawn["width"] > 100 and drawn["height"] > 10, name
        assert drawn["stroke"] not in ("none", "rgb(0, 0, 0)"), name
        assert (drawn["fill"] != "none") == (name in ("same person", "different people"))
    assert len(probe["images"]) == 48 and set(probe["images"]) == {128}
    assert probe["alerts"] == 0


def test_the_worst_pairs_come_first_and_wrong_ones_are_framed(page: Element, evaluation: Evaluation) -> None:
    for name, pairs in (
        ("false-matches", evaluation.false_matches),
        ("false-non-matches", evaluation.false_non_matches),
    ):
        figures = page.find("div", data_sheet=name).find_all("figure")
        assert [figure.find("b").text for figure in figures] == [f"{pair.similarity:.3f}" for pair in pairs]
        wrong = [(pair.similarity >= 0.25) == (name == "false-matches") for pair in pairs]
        assert ["wrong" in figure.attributes["class"] for figure in figures] == wrong
        assert [image.attributes["alt"] for image in figures[0].find_all("img")] == [
            evaluation.pairs.pictures[position].name for position in (pairs[0].a, pairs[0].b)
        ]


def test_failures_and_groups_are_named_as_they_are(page: Element) -> None:
    ((name, reason, _),) = page.find("table", data_table="failures").rows()
    assert (name, reason) == (f"{HOSTILE_NAME}/5.png", "invalid_image")
    groups = page.find("table", data_table="groups team").rows()
    assert [row[0] for row in groups] == ["even", "odd"]
    assert page.find("table", data_table="spread team").rows()


def test_the_page_carries_its_figures_for_programs(page: Element, evaluation: Evaluation) -> None:
    data = json.loads(page.find("script", id="evaluation").text)
    assert data["figures"]["equal_error_rate"]["estimate"] == evaluation.figures.equal_error_rate.estimate  # type: ignore[union-attr]
    assert data["failures"]["pictures"][0]["name"] == f"{HOSTILE_NAME}/5.png"
    assert data["roc"]["threshold"][0] is None and len(data["roc"]["far"]) == len(data["roc"]["tar"])


def test_a_fold_that_does_best_to_accept_nothing_is_null_in_json(evaluation: Evaluation) -> None:
    accuracy = FoldAccuracy(0.9, 0.1, (0.8, 1.0), (float("inf"), 0.5))
    data = replace(evaluation, figures=replace(evaluation.figures, accuracy=accuracy)).to_dict()
    assert data["figures"]["accuracy"]["thresholds"] == [None, 0.5]
    json.dumps(data, allow_nan=False)


def test_the_page_needs_nothing_from_elsewhere(html: str) -> None:
    assert not re.search(r'(?:src|href)="(?!data:)', html)
    assert "http://" not in html and "https://" not in html and "@import" not in html
    assert "default-src 'none'" in html
    assert HOSTILE_NAME not in html  # only escaped, or as \\u003c in the data


def test_data_cannot_end_its_element() -> None:
    block = data_block("x", {"name": "</script><b>"})
    assert block.count("<") == 2 and json.loads(block[block.index("{") : block.rindex("}") + 1]) == {
        "name": "</script><b>"
    }


def test_pictures_that_are_gone_leave_a_gap(evaluation: Evaluation) -> None:
    html = render_page(replace(evaluation, identification=None, groupings=(), failures=()), {})
    assert html.count(">gone<") == 48 and 'data-chart="cmc"' not in html and "Failed pictures" not in html


def test_axes_put_values_where_they_belong() -> None:
    assert linear("x", -1, 1, step=0.5).place(np.array([-1, 0, 1])).tolist() == [0, 0.5, 1]
    assert logarithmic("x", 1e-4).place(np.array([1e-9, 1e-4, 1e-2, 1])) == pytest.approx([0, 0, 0.5, 1])
    assert probit("x", 0.01, 0.99).place(np.array([0.01, 0.5, 0.99])) == pytest.approx([0, 0.5, 1])
    chart = Chart("a", "b", linear("x", 0, 1, step=1), linear("y", 0, 1, step=1))
    chart.add_curve("<&>", np.array([0, 1]), np.array([0, 1]), kind="main")
    assert 'data-curve="&lt;&amp;&gt;"' in chart.to_svg()


def test_no_template_lets_anything_through_unescaped() -> None:
    templates = list(files("lightface.pages").joinpath("templates").iterdir())
    assert {"audit.html", "evaluation.html", "groups.html"} <= {one.name for one in templates}
    for one in templates:
        assert not re.search(r"\|\s*safe|autoescape|Markup", one.read_text(encoding="utf-8")), one
