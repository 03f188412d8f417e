"""The figure of a report."""

from layerdrop_plugin.reports.figure import Points, points_and_bars


def test_a_label_is_legible_where_it_crosses_another_points_bar():
    rows = [
        {"name": name, "metric": metric, "low": metric, "high": metric, "interval": [metric - 5, metric + 5]}
        for name, metric in (("child", 70.0), ("parent", 70.5))
    ]
    points = Points("ms", "accuracy", {"child": 1.0, "parent": 1.1})
    axes = points_and_bars(rows, "Title", points, []).axes[0]
    assert {label.get_text() for label in axes.texts} == {"child", "parent"}
    for label in axes.texts:
        assert label.get_bbox_patch().get_facecolor()[:3] == (1, 1, 1)
        assert label.get_zorder() > max(line.get_zorder() for line in axes.lines)
