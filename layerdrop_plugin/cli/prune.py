"""Prune a checkpoint, the parent, to a smaller child: remove layers, heads and FFN units with low scores, and rows of
the embeddings whose symbols a corpus does not use. Everything that no option names is kept.

The child loads with fairseq-train --finetune-from-model, fairseq-generate, fairseq-validate and from_pretrained,
without its parent or any override. If only whole layers were removed, it also loads without this plugin.

  layerdrop prune parent.pt child.pt --encoder-layers every-other:0.5
  layerdrop prune parent.pt child.pt --encoder-layers even:6 --decoder-layers first:2
  layerdrop prune parent.pt child.pt --plan plan.json      {"version": 1, "encoder": {"layers": [1, 3, 5]}}
  layerdrop prune parent.pt child.pt --heads importance.json:0.4 --ffn importance.json:0.5 --min-heads 1
  layerdrop prune parent.pt small/child.pt --vocab train.txt --encoder-layers even:4

With --vocab, the dictionaries (dict.txt and, for RoBERTa, input0/dict.txt; dict.SRC.txt and dict.TGT.txt) and the
tokenizer (sentencepiece.bpe.model or tokenizer.json) of the child are written beside it, so CHILD must lie in another
folder than PARENT; other files of these names there are never replaced. The corpus is tokenised as before and gives the
same hidden states, class scores and logits of kept rows. Binarise data anew with the new dictionaries: data made with
the old ones are refused.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import checkpoint
from ..anatomy import PARTS, STACKS
from ..errors import LayerdropError
from ..pruning.describe import LONG_PLAN
from ..pruning.layer_rules import SPEC_HELP
from ..pruning.plan import Plan
from ..pruning.ranking import RANKING_HELP, RANKINGS
from ..pruning.rules import MIN_HEADS_HELP, PART_HELP, Rules

if TYPE_CHECKING:
    from ..interop.prune_vocabulary import RewrittenVocabulary
    from ..pruning.parent import Parent

HELP = "prune a checkpoint to a smaller one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Parent, child and the plan."""
    parser.add_argument("parent", metavar="PARENT", help="checkpoint file to prune; it is not changed")
    parser.add_argument("child", metavar="CHILD", help="checkpoint file to write")
    for stack in STACKS:
        parser.add_argument(f"--{stack}-layers", metavar="SPEC", help=f"layers of the {stack} to keep: {SPEC_HELP}")
    parser.add_argument("--plan", metavar="FILE", help="JSON file of the plan, instead of SPEC")
    for name, part in PARTS.items():
        parser.add_argument(f"--{name}", metavar="FILE:RATE", help=f"{part.many} to remove: {PART_HELP}")
    parser.add_argument("--ranking", choices=RANKINGS, default=RANKINGS[0], help=RANKING_HELP)
    parser.add_argument("--min-heads", type=int, default=0, metavar="N", help=MIN_HEADS_HELP)
    parser.add_argument(
        "--vocab", nargs="+", metavar="FILE", help="text, pieces or a list of tokens: keep the embedding rows they use"
    )
    parser.add_argument(
        "--target-vocab", nargs="+", metavar="FILE", help="the same for a translation's target side; with one shared"
        " embedding all files count for both"
    )  # fmt: skip
    parser.add_argument(
        "--vocab-characters",
        choices=("corpus", "all"),
        help="single characters kept: those in FILE, or every one in the dictionary (default: corpus)",
    )
    parser.add_argument(
        "--vocab-format",
        choices=("text", "pieces"),
        help="what FILE holds: text for the tokenizer, or its pieces with spaces or line ends between them (default:"
        " text where there is a tokenizer)",
    )
    parser.add_argument(
        "--vocab-from",
        metavar="DIR",
        help="folder with PARENT's dictionaries and tokenizer, such as its data (default: PARENT's)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")


def run(args: argparse.Namespace) -> None:
    """Prune, saying what was kept and the rate that was reached."""
    from ..pruning.parent import Parent
    from ..pruning.prune import prune

    rules = Rules.from_options(vars(args))
    if not (rules or args.vocab or args.target_vocab):
        raise LayerdropError(
            "say what to keep: --encoder-layers SPEC, --decoder-layers SPEC, --plan FILE or --vocab FILE;"
            " or what to remove: --heads FILE:RATE or --ffn FILE:RATE"
        )
    checkpoint.refuse_same_file(args.parent, args.child)
    if not args.dry_run:
        checkpoint.check_target(args.child)  # before the work, not after it
    parent = Parent.load(args.parent)
    rewritten = _rewritten_vocabulary(parent, args)
    child = prune(parent, rules, rewritten and rewritten.vocabulary)
    lines = [
        *(rewritten.notes if rewritten else ()),
        _printable(child.plan),
        *child.describe(),
        f"parameters: {child.parameters:,} of {parent.parameters:,}",
    ]
    if args.dry_run:
        lines.append("dry run: nothing written")
    else:
        from ..interop.beside import files_beside  # of an imported model: what export-hf needs

        files = (rewritten.files if rewritten else {}) | files_beside(Path(args.parent).parent)
        checkpoint.write_with_files(child.state, args.child, files)
        names = dict.fromkeys("huggingface/" if name.startswith("huggingface/") else name for name in files)
        beside = [f"{os.path.dirname(args.child) or '.'}/{name}" for name in names]
        lines.append(" ".join(["wrote", args.child, *beside]))
    print("\n".join(lines))  # after writing: a closed pipe must not cost the child


def _rewritten_vocabulary(parent: "Parent", args: argparse.Namespace) -> "RewrittenVocabulary | None":
    """The vocabulary that the options or the plan's file leave, and its files; None where it stays whole."""
    planned = Plan.load(args.plan).vocabulary if args.plan else None
    asked = {side: files for side, files in (("source", args.vocab), ("target", args.target_vocab)) if files}
    if planned is None and not asked:
        if args.vocab_characters or args.vocab_format or args.vocab_from:
            raise LayerdropError(
                "--vocab-characters, --vocab-format and --vocab-from say how --vocab works: give it too"
            )
        return None
    if planned is not None and (asked or args.vocab_characters or args.vocab_format):
        raise LayerdropError("the plan's file names the rows of the vocabulary already: leave out --vocab")
    folder = Path(args.vocab_from or os.path.dirname(args.parent) or ".")
    if os.path.realpath(folder) == os.path.realpath(os.path.dirname(args.child) or "."):
        raise LayerdropError(
            f"{folder} has the parent's dictionary and tokenizer, and the child's would take their place: write CHILD"
            " into another folder"
        )
    from ..interop.prune_vocabulary import VocabularyRules, prune_vocabulary

    rules = VocabularyRules(asked, folder, args.vocab_characters or "corpus", args.vocab_format)
    return prune_vocabulary(parent, rules, planned)


def _printable(plan: Plan) -> str:
    """The plan's JSON, or where to find it when it is too long to read."""
    text = plan.to_json()
    if len(text) <= LONG_PLAN:
        return text
    return f"plan: {len(text):,} characters of JSON, in the child's provenance (layerdrop inspect --json)"
