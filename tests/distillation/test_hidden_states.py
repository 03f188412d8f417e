"""Which hidden states are held against which."""

from layerdrop_plugin.distillation.hidden_states import counterparts
from layerdrop_plugin.pruning.plan import Plan, StackPlan


def test_what_a_layer_reads_is_held_against_what_it_read_in_the_parent():
    """State n is what layer n reads: 0 the embeddings, the last one what the stack returns."""
    plan = Plan(encoder=StackPlan((1, 4, 7)))
    assert counterparts(plan, {"encoder": 12, "decoder": 2}) == {"encoder": (0, 4, 7, 12), "decoder": (0, 1, 2)}
    assert counterparts(Plan(encoder=StackPlan((11,))), {"encoder": 12}) == {"encoder": (0, 12)}
