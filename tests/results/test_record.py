"""What pages keep of results."""

from layerdrop_plugin.results import record


def test_a_page_keeps_all_of_a_result_but_its_answers_and_long_rows_of_plans():
    rows = ",".join(map(str, range(0, 2000, 2)))
    plan = {"version": 1, "encoder": {"layers": [0, 2]}, "vocabulary": {"source": rows}}
    origin = {"ancestors": [{"file": "parent.pt", "plan": plan}], "plan": plan, "plan_sha256": "a" * 64}
    result = {"name": "child", "command": "x" * 500, "answers": {"loss": [1.0]}, "plan": plan, "provenance": origin}
    found = record.for_page(result)
    shown = {"source": f"{rows[:40]}... ({len(rows):,} characters, whole in the checkpoint)"}
    assert found["plan"] == plan | {"vocabulary": shown} == found["provenance"]["ancestors"][0]["plan"]
    assert "answers" not in found and found["command"] == result["command"]
    assert found["provenance"]["plan_sha256"] == origin["plan_sha256"]
    assert result["plan"]["vocabulary"]["source"] == rows  # the result itself is as it was


def test_a_result_without_a_plan_stays_without():
    assert record.for_page({"name": "parent", "plan": None, "provenance": None}) == {
        "name": "parent",
        "plan": None,
        "provenance": None,
    }
    assert record.for_page({"name": "copy"}) == {"name": "copy"}
