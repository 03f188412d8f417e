"""Split line-aligned text files into train, valid and test, or trim such splits once they are tokenized."""

import argparse
from pathlib import Path
from typing import NamedTuple

from textfile import SPLITS, chosen, fail, fraction, read_lines, split_of, tidy, write_splits

MAX_RATIO = 3  # of the lengths of two sides; beyond it they are hardly translations of each other


class Pair(NamedTuple):
    """A sentence and its translation, white space tidied; pairs of the same group share a split."""

    source: str
    target: str
    group: str

    def text(self):
        """What equal pairs have in common, whatever their case and group."""
        return f"{self.source}\t{self.target}".casefold()


def read_aligned(*paths):
    """The tidied lines of each file; exits unless all have the same number of lines."""
    files = [[tidy(line) for _, line in read_lines(path)] for path in paths]
    for path, lines in zip(paths, files, strict=True):
        if len(lines) != len(files[0]):
            fail(f"{paths[0]} has {len(files[0])} lines, {path} has {len(lines)}: line by line they must correspond")
    if not files[0]:
        fail(f"{paths[0]}: no text in it")
    return files


def read_pairs(source, target, groups=None, skip_empty=False, limit=None):
    """The pairs of two files. A third one names their groups; without it the source sentence does.

    Args:
        source, target, groups (str): paths.
        skip_empty (bool): leave out pairs with an empty side and say how many, instead of refusing them.
        limit (int | None): return at most this many, chosen by a hash of the text.
    """
    paths = [path for path in (source, target, groups) if path]
    pairs, empty = [], 0
    for number, fields in enumerate(zip(*read_aligned(*paths), strict=True), 1):
        if all(fields):
            pairs.append(Pair(fields[0], fields[1], fields[2] if groups else fields[0]))
        elif skip_empty and not all(fields[:2]):
            empty += 1
        else:
            path = paths[fields.index("")]
            fail(f"{path}, line {number}: empty line")
    if skip_empty:
        print(f"{empty} of {len(pairs) + empty} pairs of {source} have an empty side: dropped")
    return [pairs[i] for i in chosen([pair.text() for pair in pairs], limit)]


def split_pairs(pairs, valid, test):
    """{split: pairs}, decided by nothing but the names of the groups; no test split if `test` is 0."""
    splits = {split: [] for split in SPLITS if split != "test" or test}
    for pair in pairs:
        splits[split_of(pair.group, valid, test)].append(pair)
    return splits


def without_repeats(splits):
    """`splits` without the pairs of test that train has, and those of valid that either has.

    Chapters quote each other: a pair may be in groups of different splits.
    """
    seen, kept = set(), {}
    for split in sorted(splits, key=("train", "test", "valid").index):
        kept[split] = [pair for pair in splits[split] if pair.text() not in seen]
        seen.update(pair.text() for pair in kept[split])
    return {split: kept[split] for split in splits}


def well_matched(source, target, longest):
    """Whether two sentences, as lists of pieces, are fit to train on and to be scored: neither empty nor too long."""
    short, long = sorted((len(source), len(target)))
    return short > 0 and long <= min(longest, MAX_RATIO * short)


def sides(splits, languages, first=0):
    """{SPLIT.LANGUAGE: lines} of {split: rows}; from the `first` on, a field of a row is a language's."""
    return {
        f"{split}.{language}": [row[column] for row in rows]
        for split, rows in splits.items()
        for column, language in enumerate(languages, first)
    }


def sizes(splits):
    return ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())


def refuse_empty(splits, why):
    for split, rows in splits.items():
        if not rows:
            fail(f"no pairs are left for {split}: {why}")


def split(args):
    """SPLIT.LANGUAGE in --out, for each split and language."""
    options = {"skip_empty": args.skip_empty, "limit": args.limit}
    if args.src:
        pairs = read_pairs(args.src, args.tgt, args.groups, **options)
        splits = split_pairs(pairs, args.valid, args.test)
        if args.groups:
            splits = without_repeats(splits)
            dropped = len(pairs) - sum(map(len, splits.values()))
            print(f"{len({pair.group for pair in pairs})} groups; {dropped} pairs are in two splits: dropped from one")
        refuse_empty(splits, f"{len(pairs)} pairs are too few")
    else:
        paths = {split: (getattr(args, f"{split}_src"), getattr(args, f"{split}_tgt")) for split in SPLITS}
        splits = {split: read_pairs(*pair, **options) for split, pair in paths.items() if all(pair)}
        refuse_empty(splits, "its files have none without an empty side")
    write_splits(args.out, sides(splits, (args.src_lang, args.tgt_lang)))
    print(f"{sizes(splits)} pairs")


def trim(args):
    """The splits of --text with their pieces, from FILE and FILE.spm, less the pairs whose lengths do not fit."""
    languages = (args.src_lang, args.tgt_lang)
    limits = {"valid": args.limit_valid, "test": args.limit_test}
    splits, dropped = {}, {}
    for split in SPLITS:
        paths = [Path(args.text, f"{split}.{language}") for language in languages]
        if not paths[0].exists():
            continue
        kept, dropped[split] = [], []
        for row in zip(*read_aligned(*paths, *(f"{path}.spm" for path in paths)), strict=True):
            fits = well_matched(row[2].split(), row[3].split(), args.max_pieces)
            (kept if fits else dropped[split]).append(row)
        splits[split] = [kept[i] for i in chosen([f"{row[0]}\t{row[1]}" for row in kept], limits.get(split))]
    rule = f"a side has over {args.max_pieces} pieces, or over {MAX_RATIO} times as many as the other"
    print(f"{sizes(dropped)} pairs dropped: {rule}")
    refuse_empty(splits, f"of all that there were, {rule}")
    write_splits(args.out, sides(splits, languages))
    write_splits(args.out_pieces, sides(splits, languages, first=2))
    print(f"{sizes(splits)} pairs")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("split", help=split.__doc__)
    for name in ("src", "tgt", "groups", *(f"{split}-{side}" for split in SPLITS for side in ("src", "tgt"))):
        command.add_argument(f"--{name}", metavar="FILE")
    command.add_argument("--valid", type=fraction, default=0.02, metavar="F", help="fraction of --src (default: 0.02)")
    command.add_argument("--test", type=fraction, default=0.03, metavar="F", help="fraction of --src (default: 0.03)")
    command.add_argument("--skip-empty", action="store_true", help="drop pairs with an empty side")
    command.add_argument("--limit", type=int, metavar="N", help="use only N pairs of each source file")
    command.set_defaults(run=split)
    command = commands.add_parser("trim", help=trim.__doc__)
    command.add_argument("--text", required=True, metavar="DIR", help="the splits, FILE.spm beside FILE")
    command.add_argument("--out-pieces", required=True, metavar="DIR", help="existing folder for the pieces")
    command.add_argument("--max-pieces", type=int, required=True, metavar="N", help="drop pairs with a longer side")
    command.add_argument("--limit-valid", type=int, metavar="N", help="keep at most N pairs of valid")
    command.add_argument("--limit-test", type=int, metavar="N", help="keep at most N pairs of test")
    command.set_defaults(run=trim)
    for command in commands.choices.values():
        command.add_argument("--src-lang", required=True)
        command.add_argument("--tgt-lang", required=True)
        command.add_argument("--out", required=True, metavar="DIR", help="existing folder for the text")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
