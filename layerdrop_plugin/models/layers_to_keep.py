"""fairseq's ``--encoder-layers-to-keep`` and ``--decoder-layers-to-keep``, for training, resuming and overrides."""

from argparse import Namespace
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from ..anatomy import kinds_of_stack
from ..errors import LayerdropError
from ..modules.scriptable import Scriptable
from ..pruning.plan import Plan, StackPlan
from ..pruning.weights import layers_of, prune_weights


def parse_layers_to_keep(text: str | Iterable[int] | None, layers: int, stack: str) -> tuple[int, ...]:
    """Parse fairseq's ``--STACK-layers-to-keep`` for a stack of *layers* layers; returns the layers, ascending.

    Args:
        text: ``0,2,4``, or a list of numbers, as fairseq's Transformer configuration has it; empty or None for all.

    Raises:
        LayerdropError: not a comma-separated list of different layers of the stack.
    """
    if text and not isinstance(text, str):
        text = ",".join(map(str, text))
    if not text:
        return ()
    name = f"--{stack}-layers-to-keep {text}"
    try:
        kept = [int(part) for part in text.split(",")]
    except ValueError:
        raise LayerdropError(f"{name}: want the layers' numbers separated by commas, such as 0,2,4") from None
    if len(set(kept)) != len(kept):
        raise LayerdropError(f"{name} repeats a layer: name each one once")
    beyond = [layer for layer in kept if not 0 <= layer < layers]
    if beyond:
        raise LayerdropError(f"{name}: there is no layer {beyond[0]}, the {stack} has layers 0 to {layers - 1}")
    return tuple(sorted(kept))


class LayersToKeep(Scriptable):
    """Mixin for a model: prunes weights on loading by fairseq's options, each stack separately, and only once.

    fairseq itself prunes again when a run resumes, and removes all layers of a stack that its options do not name.
    """

    layers_to_keep: dict[str, tuple[int, ...]] = {}  # stack -> layers to keep of the weights to load
    __jit_ignored_attributes__ = ["layers_to_keep"]

    @staticmethod
    def take_layers_to_keep(args: Namespace | DictConfig, stacks: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Remove fairseq's options from *args* and set its sizes to those of the pruned model.

        The saved configuration is then that of the pruned model: it is not pruned again on loading.

        Returns:
            the layers to keep of each stack that is pruned.
        """
        kept = {}
        for stack in stacks:
            option = f"{stack}_layers_to_keep"
            layers = parse_layers_to_keep(getattr(args, option, None), getattr(args, f"{stack}_layers"), stack)
            setattr(args, option, None)
            if layers:
                _keep_sizes(args, stack, layers)
                setattr(args, f"{stack}_layers", len(layers))
                kept[stack] = layers
        return kept

    def load_state_dict(
        self,
        state_dict: Mapping[str, Tensor],
        strict: bool = True,
        model_cfg: DictConfig | None = None,
        args: Namespace | None = None,
    ) -> Any:
        """As fairseq's, after removing the layers of *state_dict* that the options do not keep.

        Raises:
            LayerdropError: a layer to keep that *state_dict* does not have.
        """
        self.upgrade_state_dict(state_dict)
        own = [name for name, _ in self.named_parameters()]
        plans = {}
        for stack, kept in self.layers_to_keep.items():
            # Numbers of the layers with weights (a layer whose sublayers are all absent has none). If they are equal,
            # the weights are already pruned, or pruning would not change them.
            own_layers, loaded_layers = layers_of(own, stack), layers_of(state_dict, stack)
            if own_layers == loaded_layers:
                continue
            missing = [kept[layer] for layer in sorted(own_layers) if kept[layer] not in loaded_layers]
            if missing:
                raise LayerdropError(
                    f"--{stack}-layers-to-keep {','.join(map(str, kept))}: the weights that are loaded have no layer"
                    f" {missing[0]} of the {stack}"
                )
            plans[stack] = StackPlan(kept)
        return super().load_state_dict(prune_weights(state_dict, Plan(**plans)), strict=strict)


def _keep_sizes(args, stack: str, layers: tuple[int, ...]) -> None:
    """Reduce the options of sizes in *args* to those of the kept *layers*."""
    for kind in kinds_of_stack(stack):
        option = f"{stack}_{kind.size_option}"
        sizes = str(getattr(args, option, None) or "").split(",")
        if len(sizes) == getattr(args, f"{stack}_layers"):
            setattr(args, option, ",".join(sizes[layer] for layer in layers))
