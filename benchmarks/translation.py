"""Translation models with random weights and sentences of random words, for fairseq's own task and collater."""

from argparse import Namespace

import torch
from fairseq import utils
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.tasks.translation import TranslationConfig, TranslationTask

STOCK, OURS = "transformer", "layerdrop_transformer"
SHORTEST, LONGEST = 10, 40  # words of a sentence, like most of TED's and the news'


def make_task(vocabulary):
    """fairseq's translation task, both languages having one dictionary of *vocabulary* types."""
    dictionary = Dictionary()
    for number in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(f"w{number}")
    return TranslationTask(TranslationConfig(source_lang="a", target_lang="b"), dictionary, dictionary)


def model_options(args, **changes):
    """The model's configuration as of fairseq-train (dict): the sizes in *args*, with *changes*."""
    sizes = {
        "layers": args.layers,
        "embed_dim": args.width,
        "ffn_embed_dim": 4 * args.width,
        "attention_heads": args.heads,
    }
    both = {f"{stack}_{name}": size for stack in ("encoder", "decoder") for name, size in sizes.items()}
    return both | {"share_all_embeddings": True, "dropout": 0.1, "seed": args.seed} | changes


def build(arch, options, task, weights=None):
    """A model on the CPU.

    Args:
        arch (str): fairseq's architecture.
        options (dict): as :func:`model_options`.
        task (TranslationTask): whose dictionaries the model has.
        weights (dict[str, Tensor] | None): copied into the model; random ones by default.
    """
    model = task.build_model(Namespace(**options | {"arch": arch, "_name": arch}))
    if weights is not None:
        model.load_state_dict(dict(weights), strict=True)
    return model


def make_batches(task, sentences, size, seed, device, targets):
    """Random sentence pairs, sorted by length and batched by fairseq's collater.

    Args:
        task (TranslationTask): whose dictionary the words come from.
        sentences, size (int): sentences in all, and in a batch.
        seed (int): of the words and the lengths, SHORTEST to LONGEST words each.
        device (torch.device): where the batches go.
        targets (bool): whether there are target sentences, as many words long as their sources.

    Returns:
        list[dict]: fairseq's samples.
    """
    words, generator = task.source_dictionary, torch.Generator().manual_seed(seed)
    lengths, _ = torch.randint(SHORTEST, LONGEST + 1, (sentences,), generator=generator).sort()

    def side():
        texts = [torch.randint(words.nspecial, len(words), (length,), generator=generator) for length in lengths]
        return [torch.cat([text, torch.tensor([words.eos()])]) for text in texts], lengths.numpy() + 1, words

    dataset = LanguagePairDataset(*side(), *(side() if targets else ()), shuffle=False)
    samples = [dataset[index] for index in range(sentences)]
    batches = [dataset.collater(samples[start : start + size]) for start in range(0, sentences, size)]
    return [utils.apply_to_sample(lambda tensor: tensor.to(device), batch) for batch in batches]
