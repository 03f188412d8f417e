"""Read `layerdrop inspect CKPT --json` on stdin.

python shape.py options   prints the options with which fairseq-train builds an encoder of the same shape, a word a line
python shape.py layers    prints how many layers encoder and decoder have, 0 for one that is not there
python shape.py kept      prints which layers of its oldest ancestor a child keeps in the encoder
"""

import json
import sys


def options(described):
    """The options (list[str]) of a description (dict)."""
    encoder, model = described["encoder"], described["options"]
    sizes = {
        "--encoder-layers": encoder["layers"],
        "--encoder-embed-dim": encoder["embed_dim"],
        "--encoder-ffn-embed-dim": encoder["ffn"],
        "--encoder-attention-heads": encoder["heads"],
        "--max-positions": described["max_positions"],
    }
    words = [str(word) for pair in sizes.items() for word in pair]
    for name in ("activation_fn", "pooler_activation_fn", "layernorm_eps", "segment_embeddings"):
        words += ["--" + name.replace("_", "-"), str(model[name])] if model.get(name) else []
    return words + [
        "--" + name.replace("_", "-")
        for name in ("encoder_normalize_before", "untie_weights_roberta")
        if model.get(name)
    ]


def layers(described):
    """[layers of the encoder, layers of the decoder]."""
    return [str((described[side] or {"layers": 0})["layers"]) for side in ("encoder", "decoder")]


def kept(described):
    """[the layers' numbers, with commas between them]."""
    return [",".join(map(str, described["provenance"]["plan"]["encoder"]["layers"]))]


if __name__ == "__main__":
    print(*{"options": options, "layers": layers, "kept": kept}[sys.argv[1]](json.load(sys.stdin)), sep="\n")
