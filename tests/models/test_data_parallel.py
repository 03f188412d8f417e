"""Law 5 with torch's own DistributedDataParallel: two gloo processes step like one that sees the whole batch."""

import builders
import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

UPDATES = 5


def train(head: str | None, rank: int, world: int, wrap=lambda model: model):
    """Parameters after a few steps on this rank's share of each batch."""
    torch.manual_seed(0)
    model = builders.build("layerdrop_roberta", encoder_layerdrop=0.5)
    if head:
        model.register_classification_head(head, num_classes=3)
    model.train()
    wrapped = wrap(model)
    # AdamW: weight decay and momentum move a parameter whose gradient is zero, but not one whose gradient is None
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-4, weight_decay=0.1)
    for update in range(UPDATES):
        model.set_num_updates(update)
        tokens = torch.randint(4, 24, (4, 7), generator=torch.Generator().manual_seed(update))[rank::world]
        optimizer.zero_grad()
        wrapped(tokens, classification_head_name=head)[0].pow(2).mean().backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def worker(rank: int, head: str | None, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    weights = train(head, rank, 2, lambda m: DistributedDataParallel(m, find_unused_parameters=False))
    torch.save(weights, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("head", [None, "topic"])
def test_two_processes_step_like_one(head, tmp_path):
    multiprocessing.spawn(worker, (head, str(tmp_path)), nprocs=2)
    alone = train(head, 0, 1)
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt")
        assert together.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, atol=1e-5, rtol=0, msg=lambda m, n=name: f"{n}: {m}")
