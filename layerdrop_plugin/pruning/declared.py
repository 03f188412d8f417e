"""Compares the weights of a checkpoint with those of the model that its configuration describes."""

import inspect
import re
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from ..anatomy import STACKS
from ..errors import LayerdropError, first_line

if TYPE_CHECKING:
    from .parent import Parent

# Weights that depend on the task, not on the configuration of the model.
_BESIDE = re.compile(r"(^|\.)(classification_heads\.|version$|_float_tensor$|embed_positions\._float_tensor$|k$)")
# fairseq adds these on loading if they are missing.
_LATER = re.compile(r"(^|\.)(output_projection\.weight|lm_head\.weight)$")


class _StayMeta(TorchFunctionMode):
    """Keeps meta tensors on their device: fairseq moves RoBERTa's weights to the CPU to initialise them."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Called by torch in place of each of its functions."""
        if func in (torch.Tensor.cpu, torch.Tensor.to) and args[0].is_meta:
            return args[0]
        return func(*args, **kwargs or {})


class _Task:
    """The part of a fairseq task that building a model uses: dictionaries of the right sizes."""

    def __init__(self, parent: "Parent"):
        from fairseq.data import Dictionary

        sizes = [parent.vocabulary_size(side) for side in ("source", "target")]
        source, target = (Dictionary() for _ in sizes)
        for dictionary, size in ((source, sizes[0]), (target, sizes[1])):
            dictionary.symbols += [""] * (size - len(dictionary.symbols))
            if len(dictionary) != size:
                raise LayerdropError(f"its embeddings have {size} rows, fewer than the special symbols of a dictionary")
        shared = parent.options.get("share_all_embeddings") or parent.options.get("merge_src_tgt_embed")
        self.source_dictionary, self.target_dictionary = source, source if shared else target
        self.dictionary = source
        self._longest = int(parent.options.get("max_positions") or parent.positions or 512)

    def max_positions(self) -> int:
        """Longest input in tokens."""
        return self._longest


def check(parent: "Parent") -> None:
    """Raise LayerdropError unless names, shapes and dtypes of *parent*'s weights are those its configuration describes.

    They are compared with those of the family's model, built on torch's meta device, which takes no memory.
    """
    from .. import register

    register()
    try:
        declared = _declared(parent)
    except LayerdropError:
        raise
    except Exception as error:  # fairseq raises many types for inconsistent options
        raise LayerdropError(f"no model can be built of its configuration: {first_line(error)}") from error
    found = parent.weights
    for name, wanted in declared.items():
        if name not in found:
            if not (_BESIDE.search(name) or _LATER.search(name)):
                raise LayerdropError(f"its weight {name} is missing: copy or train it again")
        elif tuple(found[name].shape) != tuple(wanted.shape):
            raise LayerdropError(
                f"its weight {name} has the shape {list(found[name].shape)}, but its configuration says"
                f" {list(wanted.shape)}"
            )
        elif wanted.is_floating_point() and not found[name].is_floating_point():
            raise LayerdropError(f"its weight {name} has numbers of the type {found[name].dtype}, which no weight has")
    unknown = next((name for name in found if name not in declared and not _BESIDE.search(name)), None)
    if unknown is not None and not _LATER.search(unknown):
        raise LayerdropError(f"its weight {unknown[:80]} does not belong to the {parent.family.stock} it configures")


def _declared(parent: "Parent") -> dict[str, torch.Tensor]:
    """Name -> meta tensor of the model that the parent's options describe, built as fairseq builds it on loading."""
    from fairseq import models
    from omegaconf import OmegaConf

    if parent.options.get("base_layers"):  # which ask other workers for their weights
        raise LayerdropError("it was trained with --base-layers, which can be neither dropped nor pruned")
    options = parent.options | {"checkpoint_activations": False, "offload_activations": False, "quant_noise_pq": 0}
    for stack in STACKS:
        options[f"{stack}_embed_path"] = None  # path of a file: a checkpoint must not make us read files
        options[f"{stack}_layers_to_keep"] = None
    options["_name"] = parent.architecture
    cfg = OmegaConf.create(options, flags={"allow_objects": True})
    build_model = inspect.unwrap(models.build_model)  # without what this plugin puts around it, such as dictionaries
    with torch.device("meta"), _StayMeta():
        return build_model(cfg, _Task(parent), from_checkpoint=True).state_dict()
