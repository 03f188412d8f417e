"""Plans that keep rows of the embeddings: JSON, composition, and children whose kept rows compute what they did."""

import inspect
import json

import builders
import pytest
import torch
from fairseq import models
from fairseq.data import Dictionary
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from layerdrop_plugin import checkpoint
from layerdrop_plugin.errors import LayerdropError
from layerdrop_plugin.pruning import surgery
from layerdrop_plugin.pruning.parent import Parent
from layerdrop_plugin.pruning.plan import Plan, StackPlan
from layerdrop_plugin.pruning.prune import prune
from layerdrop_plugin.pruning.vocabulary import PrunedVocabulary, VocabularyPlan, symbols_sha256

ROWS = 25  # of builders.dictionary(): 4 special symbols, 20 words, <mask>
SPECIAL = (0, 1, 2, 3)


def rows(size: int = ROWS):
    """Rows that a plan may keep."""
    return st.sets(st.sampled_from(range(4, max(size, 5)))).map(
        lambda kept: (*SPECIAL, *(row for row in sorted(kept) if row < size))
    )


def vocabularies(size: int = ROWS):
    sides = st.tuples(st.none() | rows(size), st.none() | rows(size))
    return sides.filter(any).map(lambda sides: VocabularyPlan(*sides))


@given(vocabularies(300))
def test_rows_in_the_plans_file(vocabulary):
    plan = Plan(encoder=StackPlan((1,)), vocabulary=vocabulary)
    again = Plan.from_dict(json.loads(plan.to_json()))
    assert (again, again.sha256()) == (plan, plan.sha256())
    assert plan.sha256() != Plan(encoder=StackPlan((1,))).sha256()


def test_many_rows_are_ranges():
    plan = Plan(vocabulary=VocabularyPlan((*range(90), 95)))
    assert plan.to_json() == '{"version": 1, "vocabulary": {"source": "0-89,95"}}'


@given(st.data())
def test_plans_compose(data):
    first = data.draw(vocabularies())
    left = [ROWS if first.get(side) is None else len(first.get(side)) for side in ("source", "target")]
    second = VocabularyPlan(*(data.draw(st.none() | rows(size)) for size in left))
    composed = Plan(vocabulary=second).after(Plan(vocabulary=first)).vocabulary
    for side in ("source", "target"):
        kept = list(range(ROWS))
        for plan in (first, second):
            kept = kept if plan.get(side) is None else [kept[row] for row in plan.get(side)]
        assert list(composed.get(side) or range(ROWS)) == kept
    assert Plan().after(Plan(vocabulary=first)).vocabulary == Plan(vocabulary=first).after(Plan()).vocabulary == first


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("0-9", "which rows it keeps"),
        ({"other": "0-9"}, "which rows it keeps"),
        ({"source": {}}, "whole numbers"),
        ({"source": "9-3"}, "ascending"),
    ],
)
def test_what_is_no_vocabulary_is_refused(data, message):
    with pytest.raises(LayerdropError, match=message):
        Plan.from_dict({"version": 1, "vocabulary": data})


@pytest.mark.parametrize(
    ("arch", "options", "plan", "message"),
    [
        ("roberta", {}, VocabularyPlan((0, 1, 2, 3, 99)), "row 99"),
        ("roberta", {}, VocabularyPlan((0, 2, 3, 9)), "rows 0 to 3"),
        ("roberta", {}, VocabularyPlan(None, SPECIAL), "has one only"),
        ("transformer", {"share_all_embeddings": True}, VocabularyPlan(SPECIAL), "share one embedding"),
        ("transformer_lm", {"adaptive_softmax_cutoff": "8,12"}, VocabularyPlan(SPECIAL), "--adaptive-softmax-cutoff"),
        ("transformer_lm", {"character_embeddings": True}, VocabularyPlan(SPECIAL), "--character-embeddings"),
    ],
)
def test_what_cannot_be_cut_is_refused(arch, options, plan, message):
    model = builders.build(f"layerdrop_{arch}")
    state = builders.state_of(model, f"layerdrop_{arch}")
    state["cfg"]["model"] = state["cfg"]["model"] | options
    with pytest.raises(LayerdropError, match=message):
        prune(Parent(state), Plan(vocabulary=plan))


class ChildTask(builders.FakeTask):
    """With the dictionaries that a plan leaves."""

    def __init__(self, symbols):
        super().__init__()
        for side, left in symbols.items():
            dictionary = Dictionary()
            for symbol in left:
                dictionary.add_symbol(symbol)
            setattr(self, f"{side}_dictionary", dictionary)


KINDS = {
    "tied": ("layerdrop_roberta", {}),
    "untied": ("layerdrop_roberta", {"untie_weights_roberta": True}),
    "lm": ("layerdrop_transformer_lm", {"share_decoder_input_output_embed": True}),
    "joined": ("layerdrop_transformer", {"share_all_embeddings": True, "share_decoder_input_output_embed": True}),
    "separate": ("layerdrop_transformer", {"share_decoder_input_output_embed": False}),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_kept_rows_compute_what_they_did(kind, data):
    """Hidden states, logits of kept rows; in a stock model that fairseq builds, layers gone at the same time too."""
    arch, options = KINDS[kind]
    parent = builders.build(arch, **options).eval()
    source = data.draw(rows())
    target = source if kind in ("joined", "tied", "untied", "lm") else data.draw(rows())
    vocabulary = VocabularyPlan(source, target if arch == "layerdrop_transformer" else None)
    stack = "decoder" if kind == "lm" else "encoder"
    layers = Plan(**{stack: StackPlan(tuple(sorted(data.draw(st.sets(st.integers(0, 3), min_size=1)))))})
    symbols = {side: [builders.dictionary()[row] for row in kept] for side, kept in vocabulary.items()}
    whole = Parent(builders.state_of(parent, arch))
    found = prune(whole, layers, PrunedVocabulary(vocabulary, symbols))
    assert found.state["cfg"]["model"]["dictionary_sha256"] == symbols_sha256(symbols["source"])
    assert found.parameters < whole.parameters or len(source) == ROWS
    child = fairseqs_own(found.state, ChildTask(symbols | {"target": symbols.get("target", symbols["source"])}))
    shallow = builders.child_of(parent, layers, arch).eval()
    generator = torch.Generator().manual_seed(0)
    given_to_child = {"src_tokens": torch.randint(0, len(source), (2, 6), generator=generator)}
    if vocabulary.target:
        given_to_child |= {
            "src_lengths": torch.tensor([6, 6]),
            "prev_output_tokens": torch.randint(0, len(target), (2, 5), generator=generator),
        }
    of_parent = dict(given_to_child) | {"src_tokens": torch.tensor(source)[given_to_child["src_tokens"]]}
    if vocabulary.target:
        of_parent["prev_output_tokens"] = torch.tensor(target)[given_to_child["prev_output_tokens"]]
    with torch.no_grad():
        logits, expected = child(**given_to_child)[0], shallow(**of_parent)[0]
        torch.testing.assert_close(logits, expected[..., list(target)], atol=1e-6, rtol=0)
        if kind != "lm":
            hidden = child(**given_to_child, features_only=True)[0]
            torch.testing.assert_close(hidden, shallow(**of_parent, features_only=True)[0], atol=1e-6, rtol=0)


def fairseqs_own(state, task):
    """The model of a child, built and loaded as stock fairseq does, without what this plugin puts around it."""
    cfg = OmegaConf.create(state["cfg"], flags={"allow_objects": True})
    child = inspect.unwrap(models.build_model)(cfg.model, task, True).eval()
    assert not type(child).__name__.startswith("LayerDrop")
    child.load_state_dict(state["model"], strict=True, model_cfg=cfg.model)
    return child


def test_what_was_tied_stays_tied_and_is_copied_once():
    model = builders.build("layerdrop_transformer", **KINDS["joined"][1])
    weights = prune(
        Parent(builders.state_of(model, "layerdrop_transformer")),
        Plan(vocabulary=VocabularyPlan((*SPECIAL, 9), (*SPECIAL, 9))),
    ).state["model"]
    tables = [weights[f"{name}.weight"] for name in ("encoder.embed_tokens", "decoder.embed_tokens")]
    tables.append(weights["decoder.output_projection.weight"])
    assert len({table.data_ptr() for table in tables}) == 1
    assert tables[0].untyped_storage().nbytes() == 5 * 16 * 4


def test_rows_of_a_child_are_cut_again():
    """As the composed plan cuts them out of the grandparent; heads and layers go along."""
    state = builders.state_of(builders.build("layerdrop_roberta"))
    first = Plan(
        encoder=StackPlan((0, 2), self_attn={0: (1,)}), vocabulary=VocabularyPlan((*SPECIAL, *range(10, ROWS)))
    )
    second = Plan(encoder=StackPlan((1,)), vocabulary=VocabularyPlan((*SPECIAL, 5, 9)))
    child = prune(Parent(state), first)
    again, once = prune(Parent(child.state), second), prune(Parent(state), second.after(first))
    assert again.describe()[-1] == "vocabulary: 6 of 19 embedding rows kept"
    assert again.state["model"].keys() == once.state["model"].keys()
    assert all(torch.equal(weight, once.state["model"][name]) for name, weight in again.state["model"].items())
    origin = surgery.origin_of(again.state["cfg"])
    assert origin["plan"]["vocabulary"] == {"source": [*SPECIAL, 11, 15]}
    assert [ancestor["vocabulary"] for ancestor in origin["ancestors"]] == [{"source": ROWS}, {"source": 19}]
    assert "vocabulary" not in prune(Parent(state), Plan()).state["cfg"][checkpoint.PROVENANCE]["ancestors"][0]
