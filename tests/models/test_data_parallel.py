"""Law 5 with torch's own DistributedDataParallel: two gloo processes step like one that sees the whole batch."""

import builders
import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

UPDATES = 5
# Heads, units and sublayers dropped too, in layers some of whose parts are absent.
PARTS = {
    **{f"{stack}_{rate}": 0.4 for stack in ("encoder", "decoder") for rate in ("headdrop", "ffndrop", "sublayerdrop")},
    **{"encoder_self_attn_heads": "2,0,-,1", "encoder_ffn_units": "24,3,-,0"},
    **{"decoder_self_attn_heads": "0,2,1,-", "decoder_ffn_units": "0,24,7,-", "decoder_encoder_attn_heads": "-,0,-,-"},
}
# Architecture, classification head and options; with the head the language-model head is idle, and the other way round.
CASES = {
    "roberta": ("layerdrop_roberta", None, {}),
    "roberta, classifying": ("layerdrop_roberta", "topic", {}),
    "transformer": ("layerdrop_transformer", None, {}),
    "transformer_lm": ("layerdrop_transformer_lm", None, {}),
    "roberta, parts": ("layerdrop_roberta", "topic", PARTS),
    "transformer, parts": ("layerdrop_transformer", None, PARTS),
    "transformer_lm, parts": ("layerdrop_transformer_lm", None, PARTS),
}


def train(case: str, rank: int, world: int, wrap=lambda model: model):
    """Parameters after a few steps on this rank's share of each batch."""
    arch, head, parts = CASES[case]
    torch.manual_seed(0)
    model = builders.build(arch, encoder_layerdrop=0.5, decoder_layerdrop=0.5, **parts)
    options = {}
    if head:
        model.register_classification_head(head, num_classes=3)
        options = {"classification_head_name": head}
    model.train()
    wrapped = wrap(model)
    # AdamW: weight decay and momentum move a parameter whose gradient is zero, but not one whose gradient is None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-4, weight_decay=0.1)
    for update in range(UPDATES):
        model.set_num_updates(update)
        inputs = {name: value[rank::world] for name, value in builders.inputs(arch, 4, 7, seed=update).items()}
        optimizer.zero_grad()
        wrapped(**inputs, **options)[0].pow(2).mean().backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    weights = {
        case: train(case, rank, 2, lambda m: DistributedDataParallel(m, find_unused_parameters=False)) for case in CASES
    }
    torch.save(weights, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Weights of every case after training by two processes, as each of them has them."""
    folder = tmp_path_factory.mktemp("workers")
    multiprocessing.spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_processes_step_like_one(case, together):
    alone = train(case, 0, 1)
    for weights in together:
        assert weights[case].keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(weights[case][name], value, atol=1e-5, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
