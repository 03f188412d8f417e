"""Write references/: tiny random Hugging Face models, and what transformers computes with them.

    python make_references.py       in an environment of its own, with transformers 4.57 and torch

Of each folder NAME: references/NAME as save_pretrained writes it, and references/NAME.npz with the texts' token ids,
attention masks, hidden states (layers, sentences, places, width) and logits. The tests compare with these numbers, so
that no test needs transformers.
"""

import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

OUT = Path(__file__).parent / "references"
SINGLES = ["The service was good!", "这家店的服务很好", "a", "Unaffable Café, 12 % off — <s> ok"]
PAIRS = [["good service", "这家店 很好"], ["a b", "The café was good, the service was not."], ["不好", "b"]]
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 40,
}
WORDS = [
    "[PAD]",
    "[unused1]",
    "<s>",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"!,.%—这家店的服务很好不",
    "the",
    "good",
    "serv",
]
WORDS += ["##ice", "was", "cafe", *"abcdefghijklmnopqrstuvwxyz0123456789", *(f"##{x}" for x in "abcdefghilnrstuy2")]
SPECIAL = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}


def word_piece(folder):
    """BERT's tokenizer on a vocabulary whose special tokens are not the first rows."""
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")
    return BertTokenizerFast(vocab_file=str(folder / "vocab.txt")), len(WORDS) + 5


def byte_level(folder):
    """RoBERTa's tokenizer."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SINGLES + sum(PAIRS, []), trainer)
    parts = json.loads(made.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(parts["vocab"]))
    (folder / "merges.txt").write_text("".join(f"{' '.join(pair)}\n" for pair in parts["merges"]))
    files = {"vocab_file": str(folder / "vocab.json"), "merges_file": str(folder / "merges.txt")}
    return RobertaTokenizerFast(**files), made.get_vocab_size()


def unigram(folder):
    """A tokenizer of SentencePiece's kind, without <mask>, which gives segment 0 only."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [(piece, -2.0 - 0.1 * row) for row, piece in enumerate(["▁", "▁the", "▁good", "service", "很好", "服务"])]
    pieces += [(letter, -5.0) for letter in "abcdefghijklmnopqrstuvwxyz这家店的服务很好不,.!\u3000"]
    made = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    special = {role: token for role, token in SPECIAL.items() if token != "<mask>"}
    made.add_special_tokens(list(special.values()))
    return PreTrainedTokenizerFast(tokenizer_object=made, **special), len(pieces)


def whole_unigram(folder):
    """The same with <mask>, the last piece."""
    tokenizer, rows = unigram(folder)
    tokenizer.add_special_tokens({"mask_token": "<mask>"})
    return tokenizer, rows + 1


ROBERTA = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
LABELS = {"id2label": {0: "very bad", 1: "so-so", 2: "good"}, "label2id": {"very bad": 0, "so-so": 1, "good": 2}}
FOLDERS = {
    "bert": (BertForPreTraining, word_piece, BertConfig, {"layer_norm_eps": 1e-12}),
    "bert_classes": (BertForSequenceClassification, word_piece, BertConfig, {"hidden_act": "gelu_new"} | LABELS),
    "bert_unigram": (BertModel, unigram, BertConfig, {"pad_token_id": 1}),
    "roberta_classes": (RobertaForSequenceClassification, byte_level, RobertaConfig, ROBERTA | {"num_labels": 2}),
    "xlm_roberta": (XLMRobertaForMaskedLM, whole_unigram, XLMRobertaConfig, ROBERTA | {"layer_norm_eps": 1e-6}),
}


def randomised(model):
    """*model* with weights that tell every part from every other; the embeddings are small, so that eps counts."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            small = "_embeddings." in name
            weight.add_(torch.randn_like(weight) * (0.02 if small else 0.3))
    return model.eval()


@torch.no_grad()
def expected(model, tokenizer):
    """What the model computes for SINGLES and PAIRS."""
    found = {}
    for kind, texts in (("single", [SINGLES]), ("pair", list(zip(*PAIRS, strict=True)))):
        inputs = tokenizer(*(list(part) for part in texts), padding="longest", return_tensors="pt")
        output = model(**inputs, output_hidden_states=True)
        logits = output.get("logits", output.get("prediction_logits"))
        found |= {f"{kind}_ids": inputs["input_ids"], f"{kind}_mask": inputs["attention_mask"]}
        found[f"{kind}_hidden"] = torch.stack(output.hidden_states)
        if logits is not None:
            found[f"{kind}_logits"] = logits
    return {name: value.numpy() for name, value in found.items()}


def main():
    for seed, (name, (kind, make_tokenizer, make_config, settings)) in enumerate(FOLDERS.items()):
        torch.manual_seed(seed)
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer, rows = make_tokenizer(folder)
        config = make_config(**SIZES | settings, vocab_size=rows, attn_implementation="eager")
        model = randomised(kind(config))
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        np.savez_compressed(OUT / f"{name}.npz", **expected(model, tokenizer))


if __name__ == "__main__":
    main()
