import builders
import torch

from layerdrop_plugin import averaging, checkpoint
from layerdrop_plugin.pruning.parent import Parent


def test_tied_weights_are_added_once_and_others_stay_apart(tmp_path, monkeypatch):
    """In double precision too, and when different weights are pieces of one storage."""
    monkeypatch.setattr(Parent, "check", lambda self, build=True: None)  # these are no model's weights
    paths = []
    for value in (1.0, 4.0):
        state = builders.state_of(builders.build("layerdrop_transformer"), "layerdrop_transformer")
        flat = torch.arange(8, dtype=torch.float64) * value
        state["model"] = {"tied.a": flat[:4], "tied.b": flat[:4], "other": flat[4:], "version": torch.tensor([3])}
        state["cfg"] = checkpoint.plain(state["cfg"])
        paths.append(tmp_path / f"{value}.pt")
        checkpoint.write(state, paths[-1])
    found = averaging.average(paths)["model"]
    torch.testing.assert_close(found["tied.a"], torch.arange(4, dtype=torch.float64) * 2.5)
    torch.testing.assert_close(found["other"], torch.arange(4, 8, dtype=torch.float64) * 2.5)
    assert found["tied.a"] is found["tied.b"]
    assert found["version"].item() == 3
