"""Read `layerdrop inspect CKPT --json` on stdin; print the fairseq-train options of the same shape, one word a line."""

import json
import sys

described = json.load(sys.stdin)
encoder, options = described["encoder"], described["options"]
sizes = {
    "--encoder-layers": encoder["layers"],
    "--encoder-embed-dim": encoder["embed_dim"],
    "--encoder-ffn-embed-dim": encoder["ffn"],
    "--encoder-attention-heads": encoder["heads"],
    "--max-positions": described["max_positions"],
}
for option, size in sizes.items():
    print(option, size, sep="\n")
for name in ("activation_fn", "pooler_activation_fn"):
    if options.get(name):
        print("--" + name.replace("_", "-"), options[name], sep="\n")
for name in ("encoder_normalize_before", "untie_weights_roberta"):
    if options.get(name):
        print("--" + name.replace("_", "-"))
