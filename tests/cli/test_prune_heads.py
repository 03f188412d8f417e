"""``layerdrop prune --heads FILE:RATE --ffn FILE:RATE`` and what ``layerdrop inspect`` says of the child."""

import json
import math

import builders
import pytest
import torch

from layerdrop_plugin import checkpoint
from layerdrop_plugin.pruning import surgery
from layerdrop_plugin.pruning.gates import gated
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan
from layerdrop_plugin.pruning.scores import Scores

ARCHITECTURES = ["layerdrop_roberta", "layerdrop_transformer", "layerdrop_transformer_lm"]


@pytest.fixture
def saved(tmp_path):
    """Save a model of an architecture as parent.pt, and scores of it as importance.json."""

    def save(arch: str, **options):
        model = builders.build(arch, **options).eval()
        checkpoint.write(builders.state_of(model, arch), tmp_path / "parent.pt")
        write_scores(tmp_path / "parent.pt", tmp_path / "importance.json")
        return model

    return save


def write_scores(file, path, **changes) -> None:
    """Write made-up scores of the checkpoint *file*."""
    state, numbers = checkpoint.read(file), iter(range(10**6))
    scores = {}
    for stack, of in vars(Parent(state).shape).items():
        for kind, sizes in (of.sizes if of else {}).items():
            scores[f"{stack}.{kind}"] = [[math.sin(next(numbers)) ** 2 for _ in range(size or 0)] for size in sizes]
    about = {"method": "importance", "data": "0", "examples": 1, "loss": 1.0, "per": "example", "signature": {}}
    about |= {"model": Parent(state).fingerprint} | changes
    Scores.of(scores, scores, **about).save(path)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_child_is_the_gated_parent(arch, saved, layerdrop, tmp_path):
    model = saved(arch, encoder_layers=3, encoder_attention_heads=4)
    scores = tmp_path / "importance.json"
    stack = "decoder" if arch.endswith("_lm") else "encoder"
    status, output, error = layerdrop(
        *("prune", tmp_path / "parent.pt", tmp_path / "child.pt", f"--{stack}-layers", "keep:0,2"),
        *("--heads", f"{scores}:0.4", "--ffn", f"{scores}:0.5", "--min-heads", "1"),
    )
    assert (status, error) == (0, "")
    plan = Plan.from_dict(json.loads(output.splitlines()[0]))
    parent, child = (checkpoint.read(tmp_path / f"{name}.pt") for name in ("parent", "child"))
    assert surgery.whole_plan(child["cfg"][checkpoint.PROVENANCE]) == plan
    left, before = (sizes(plan.cut(Parent(parent).shape)), sizes(kept_layers(plan).cut(Parent(parent).shape)))
    assert sizes(Parent(child).shape) == left
    for name, rate in (("self_attn", 0.4), ("ffn", 0.5)):
        kinds = ("self_attn", "encoder_attn") if name == "self_attn" else ("ffn",)
        counts = [sum(sum(row) for key, row in of.items() if key.endswith(kinds)) for of in (left, before)]
        assert counts[0] == counts[1] - math.floor(rate * counts[1] + 0.5)
    assert all(min(row) >= 1 for key, row in left.items() if key.endswith("attn"))

    alone = builders.child_of(model, plan, arch).eval()
    given = builders.inputs(arch)
    with torch.no_grad(), gated(model, plan):
        torch.testing.assert_close(alone(**given)[0], model(**given)[0], atol=1e-5, rtol=0)


def kept_layers(plan: Plan) -> Plan:
    """The layers of *plan*, all they have included."""
    plain = {stack: {"layers": of["layers"]} for stack, of in plan.to_dict().items() if stack != "version"}
    return Plan.from_dict({"version": 1} | plain)


def sizes(shape) -> dict:
    stacks = {stack: of for stack, of in vars(shape).items() if of is not None}
    return {f"{stack}.{kind}": row for stack, of in stacks.items() for kind, row in of.sizes.items()}


def test_what_is_printed(saved, layerdrop, tmp_path):
    saved("layerdrop_transformer", encoder_layers=2, decoder_layers=1)
    command = ("prune", tmp_path / "parent.pt", tmp_path / "child.pt", "--ranking", "per-kind")
    rules = ("--heads", f"{tmp_path}/importance.json:0.5", "--ffn", f"{tmp_path}/importance.json:1/3")
    output = layerdrop(*command, *rules, "--dry-run")[1]
    assert "encoder: 2 of 2 layers kept" in output
    assert "heads: 4 of 8 kept: encoder.self_attn " in output
    assert "; decoder.self_attn 1; decoder.encoder_attn 1\n" in output
    assert "FFN units: 48 of 72 kept: encoder.ffn " in output
    assert "; decoder.ffn 16\n" in output
    assert "nothing written" in output
    assert not (tmp_path / "child.pt").exists()
    assert "FFN units" not in layerdrop(*command, *rules[:2])[1]
    assert "heads" not in layerdrop(*command, *rules[2:])[1]


def test_a_long_plan_is_not_printed(saved, layerdrop, tmp_path):
    saved("layerdrop_roberta", encoder_ffn_embed_dim=600)
    command = ("prune", tmp_path / "parent.pt", tmp_path / "child.pt", "--ffn", f"{tmp_path}/importance.json:0.4")
    first = layerdrop(*command)[1].splitlines()[0]
    assert first.startswith("plan: ") and first.endswith("(layerdrop inspect --json)")
    assert (
        len(json.loads(layerdrop("inspect", tmp_path / "child.pt", "--json")[1])["provenance"]["plan"]) == 2
    )  # version, encoder


def test_a_plan_by_ranges_prunes_as_the_list_does(saved, layerdrop, tmp_path):
    saved("layerdrop_roberta", encoder_layers=1, encoder_ffn_embed_dim=40)
    children = []
    for name, units in (("ranges", "0-19,22,30-39"), ("list", [*range(20), 22, *range(30, 40)])):
        plan, child = tmp_path / f"{name}.json", tmp_path / f"{name}.pt"
        plan.write_text(json.dumps({"version": 1, "encoder": {"layers": [0], "ffn": {"0": units}}}))
        status, output, error = layerdrop("prune", tmp_path / "parent.pt", child, "--plan", plan)
        assert (status, error) == (0, "")
        assert '"ffn": {"0": "0-19,22,30-39"}' in output.splitlines()[0]
        assert "(FFN units 31)" in layerdrop("inspect", child)[1]
        children.append(checkpoint.read(child)["model"])
    assert all(torch.equal(value, children[1][name]) for name, value in children[0].items())


def test_inspect_says_the_sizes_of_layers(saved, layerdrop, tmp_path):
    saved(
        "layerdrop_transformer",
        encoder_layers=3,
        decoder_layers=2,
        encoder_self_attn_heads="2,0,-",
        decoder_encoder_attn_heads="1,2",
    )
    output = layerdrop("inspect", tmp_path / "parent.pt")[1]
    rows = {tuple(line.split("  ", 1))[0]: line.split("  ", 1)[1].strip() for line in output.splitlines()}
    assert rows["encoder self_attn heads"] == "2,0,- of 2"
    assert rows["decoder self_attn heads"] == "2,2 of 2"
    assert rows["decoder encoder_attn heads"] == "1,2 of 2"
    assert rows["encoder FFN units"] == "24 in each layer"
    found = json.loads(layerdrop("inspect", tmp_path / "parent.pt", "--json")[1])
    assert found["encoder"]["sizes"] == {"self_attn": [2, 0, None], "ffn": [24, 24, 24]}
    assert found["decoder"]["sizes"] == {"self_attn": [2, 2], "encoder_attn": [1, 2], "ffn": [24, 24]}


def test_inspect_says_what_was_kept_in_few_words(saved, layerdrop, tmp_path):
    saved("layerdrop_roberta")
    plan = '{"version": 1, "encoder": {"layers": [0, 2, 3], "self_attn": {"0": [1], "2": null}, "ffn": {"3": []}}}'
    (tmp_path / "plan.json").write_text(plan)
    layerdrop("prune", tmp_path / "parent.pt", tmp_path / "child.pt", "--plan", tmp_path / "plan.json")
    output = layerdrop("inspect", tmp_path / "child.pt")[1]
    assert "keeping encoder layers [0, 2, 3] of 4 (self_attn heads 1,-,all; FFN units all,all,0)" in output


def test_a_child_again(saved, layerdrop, tmp_path):
    """Scores of the parent are not those of its child; the child's own are."""
    saved("layerdrop_roberta")
    parent, child, scores = (tmp_path / name for name in ("parent.pt", "child.pt", "importance.json"))
    assert layerdrop("prune", parent, child, "--heads", f"{scores}:0.5")[0] == 0
    status, _, error = layerdrop("prune", child, tmp_path / "grandchild.pt", "--heads", f"{scores}:0.5")
    assert status == 1 and "it is another model's" in error
    write_scores(child, scores)
    assert layerdrop("prune", child, tmp_path / "grandchild.pt", "--heads", f"{scores}:1")[0] == 0
    status, _, error = layerdrop("prune", tmp_path / "grandchild.pt", tmp_path / "x.pt", "--heads", f"{scores}:0.5")
    assert status == 1 and "no heads left to remove" in error


def edit(path, *places) -> None:
    """Put NaN in a place of a file of scores."""
    data = json.loads(path.read_text())
    inner = data
    for place in places[:-1]:
        inner = inner[place]
    inner[places[-1]] = math.nan
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (["--heads", "SCORES:1", "--min-heads", "1"], "removes 8 of the 8 heads, but with at least 1 left in each"),
        (["--heads", "SCORES:1.01"], "from 0 to 1"),
        (["--ffn", "SCORES:-1"], "from 0 to 1"),
        (["--heads", "SCORES"], "FILE:RATE"),
        (["--ffn", "0.5"], "FILE:RATE"),
        (["--heads", "nowhere.json:0.5"], "cannot read the importance file nowhere.json"),
        (["--heads", "PARENT:0.5"], "is not JSON"),
        (["--heads", "OTHER:0.5"], "other weights"),
        (["--heads", "EDITED:0.5"], "have nan where a finite number should be"),
        (["--heads", "SCORES:0.5", "--min-heads", "-1"], "minimum of -1 heads"),
        (["--encoder-layers", "first:1", "--min-heads", "1"], "the heads' rule"),
        (["--encoder-layers", "first:1", "--ranking", "per-kind"], "the rule for them"),
        (["--plan", "PLAN", "--heads", "SCORES:0.5"], "names heads already"),
        ([], "say what to keep"),
    ],
)
def test_bad_requests(rules, message, saved, layerdrop, tmp_path):
    saved("layerdrop_roberta")
    given = {name: str(tmp_path / f"{name.lower()}.json") for name in ("OTHER", "EDITED", "PLAN")}
    given |= {"SCORES": str(tmp_path / "importance.json"), "PARENT": str(tmp_path / "parent.pt")}
    write_scores(tmp_path / "parent.pt", given["OTHER"], model="0")
    write_scores(tmp_path / "parent.pt", given["EDITED"])
    edit(tmp_path / "edited.json", "normalized", "encoder.self_attn", 1, 0)
    (tmp_path / "plan.json").write_text('{"version": 1, "encoder": {"layers": [0], "self_attn": {"0": [1]}}}')
    before = sorted(tmp_path.iterdir())
    for name, value in given.items():
        rules = [rule.replace(name, value) for rule in rules]
    status, _, error = layerdrop("prune", tmp_path / "parent.pt", tmp_path / "child.pt", *rules)
    assert status == 1
    assert message in error
    assert "\n" not in error
    assert sorted(tmp_path.iterdir()) == before
