"""RoBERTa encoders with random weights, of fairseq, this plugin and transformers, and sentences of random words."""

import torch
import translation

from layerdrop_plugin import optimize_for_inference
from layerdrop_plugin.modules.attention import PrunableAttention
from layerdrop_plugin.modules.onednn_linear import least_size, pack_weights

STOCK, OURS = "roberta", "layerdrop_roberta"
# fairseq's names of weights -> transformers', where they differ
NAMES = {
    "embed_tokens": "embeddings.word_embeddings",
    "embed_positions": "embeddings.position_embeddings",
    "layernorm_embedding": "embeddings.LayerNorm",
    "layers": "encoder.layer",
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}


def make_parent(args, task, positions):
    """The checkpoint of a stock model, as fairseq would have saved it. All its weights are random, biases too.

    Args:
        args (argparse.Namespace): `layers`, `width`, `heads` and `seed`.
        task: whose dictionary the model has.
        positions (int): tokens of the longest sentence.
    """
    sizes = {"layers": args.layers, "embed_dim": args.width, "ffn_embed_dim": 4 * args.width}
    options = {f"encoder_{name}": size for name, size in (sizes | {"attention_heads": args.heads}).items()}
    options |= {"max_positions": positions, "seed": args.seed}
    torch.manual_seed(args.seed)
    weights = translation.build(STOCK, options, task).state_dict()
    for name, weight in weights.items():
        if weight.is_floating_point() and not name.endswith("embed_tokens.weight"):
            weight.add_(torch.randn_like(weight), alpha=0.02)
    cfg = {"model": options | {"_name": STOCK, "arch": STOCK}, "task": {"_name": "masked_lm"}}
    return {"cfg": cfg, "model": weights}


def features_of(arch, child, task, device, packed=True):
    """Build fairseq's or this plugin's model with a checkpoint's shape and weights, as for answering.

    Args:
        packed (bool): keep the projections of this plugin's attention packed (modules/packed_linear.py).

    Returns:
        Callable: tokens (sentences, length) -> features (sentences, length, width).
    """
    model = translation.build(arch, child["cfg"]["model"], task, child["model"]).to(device).eval()
    if arch == OURS:
        optimize_for_inference(model)
    if not packed:
        unpack(model)
    return lambda tokens: model(tokens, features_only=True)[0]


def unpack(model):
    """Give each projection of attention memory of its own, so that it is computed as a product of its own."""
    for module in model.modules():
        if isinstance(module, PrunableAttention):
            for projection in (module.q_proj, module.k_proj, module.v_proj):
                for weight in projection.parameters():
                    weight.data = weight.data.clone()
                if least_size():
                    pack_weights(projection.weight)


def features_of_transformers(parent, args, device):
    """As :func:`features_of`, of transformers' RobertaModel (sdpa attention) with the parent's weights."""
    from transformers import RobertaConfig, RobertaModel

    weights = to_transformers(parent["model"])
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    config = RobertaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        intermediate_size=4 * width,
        max_position_embeddings=len(weights["embeddings.position_embeddings.weight"]),
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        attn_implementation="sdpa",
    )
    model = RobertaModel(config, add_pooling_layer=False)
    no_types = {"embeddings.token_type_embeddings.weight": torch.zeros(1, width)}
    model.load_state_dict(weights | no_types, strict=True)
    model.to(device).eval()

    def features(tokens):
        mask = tokens.ne(config.pad_token_id)  # fairseq computes it in every pass, too
        return model(tokens, attention_mask=None if mask.all() else mask).last_hidden_state

    return features


def to_transformers(weights):
    """The encoder's *weights* of fairseq's RoBERTa under their names in transformers."""
    renamed, prefix = {}, "encoder.sentence_encoder."
    for key, weight in weights.items():
        if key.startswith(prefix) and not key.endswith(".version"):
            name = "." + key.removeprefix(prefix)
            for theirs, new in NAMES.items():
                name = name.replace(f".{theirs}.", f".{new}.")
            renamed[name[1:]] = weight
    return renamed


def make_sentences(words, count, shortest, longest, seed):
    """Sentences of random words and lengths, the first being the longest, padded on the right.

    Args:
        words (Dictionary): fairseq's.
        count, shortest, longest (int): sentences, and tokens of one, begin and end marks included.
        seed (int): of words and lengths.

    Returns:
        Tensor: (count, longest).
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(words.nspecial, len(words), (count, longest), generator=generator)
    lengths = torch.randint(shortest, longest + 1, (count, 1), generator=generator)
    lengths[0] = longest
    places = torch.arange(longest)
    tokens[:, 0] = words.bos()
    return tokens.masked_fill(places == lengths - 1, words.eos()).masked_fill(places >= lengths, words.pad())
