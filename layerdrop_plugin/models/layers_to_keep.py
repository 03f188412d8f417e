"""fairseq's own ``--encoder-layers-to-keep`` and ``--decoder-layers-to-keep``, in training, resuming and overrides."""

from ..anatomy import kinds_of_stack
from ..errors import LayerdropError
from ..modules.scriptable import Scriptable
from ..pruning.plan import Plan, StackPlan
from ..pruning.weights import layers_of, prune_weights


def parse_layers_to_keep(text, layers: int, stack: str) -> tuple[int, ...]:
    """The layers named by fairseq's ``--STACK-layers-to-keep``, ascending, checked against a stack of *layers* layers.

    Args:
        text: ``0,2,4``, or the list that fairseq's Transformer options make of it; empty or None for all.

    Raises:
        LayerdropError: not a comma-separated list of different layers, or one that the stack does not have.
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
    """Mixed into a model: prunes by fairseq's options what has not been pruned yet, each stack on its own.

    fairseq itself prunes a second time when a run resumes, and prunes away a stack that its options do not name.
    """

    layers_to_keep: dict[str, tuple[int, ...]] = {}  # stack -> layers, while the pruning is still to be done
    __jit_ignored_attributes__ = ["layers_to_keep"]

    @staticmethod
    def take_layers_to_keep(args, stacks) -> dict[str, tuple[int, ...]]:
        """Take fairseq's options out of *args*, whose numbers of layers become the child's.

        What is saved is then the model's own shape: nobody has to prune it a second time.
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

    def load_state_dict(self, state_dict, strict=True, model_cfg=None, args=None):
        """As fairseq's, pruning what the options name and *state_dict* still has.

        Raises:
            LayerdropError: a layer to keep that *state_dict* does not have.
        """
        self.upgrade_state_dict(state_dict)
        mine = [name for name, _ in self.named_parameters()]
        plans = {}
        for stack, kept in self.layers_to_keep.items():
            # Layers that have weights: one whose sublayers are all absent has none. Where both have them in the same
            # places, the weights are the child's already, or pruning would give back the same.
            wanted, found = layers_of(mine, stack), layers_of(state_dict, stack)
            if wanted == found:
                continue
            missing = [kept[layer] for layer in sorted(wanted) if kept[layer] not in found]
            if missing:
                raise LayerdropError(
                    f"--{stack}-layers-to-keep {','.join(map(str, kept))}: the weights that are loaded have no layer"
                    f" {missing[0]} of the {stack}"
                )
            plans[stack] = StackPlan(kept)
        return super().load_state_dict(prune_weights(state_dict, Plan(**plans)), strict=strict)


def _keep_sizes(args, stack: str, layers: tuple[int, ...]) -> None:
    """Leave in our options of sizes those of the *layers* that are kept."""
    for kind in kinds_of_stack(stack):
        option = f"{stack}_{kind.size_option}"
        sizes = str(getattr(args, option, None) or "").split(",")
        if len(sizes) == getattr(args, f"{stack}_layers"):
            setattr(args, option, ",".join(sizes[layer] for layer in layers))
