"""Read GLUE-format TSV files into SPLIT.input0, [SPLIT.input1] and SPLIT.label, and the label dictionary.

Either one file a split (--train, --valid, --test), or one file that is split by a hash of its texts (--split).
"""

import argparse

from textfile import SPLITS, chosen, fail, fraction, is_number, read_lines, split_of, tidy, write_splits

# The names that GLUE's own files use, first match wins.
TEXTS = [
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("#1 string", "#2 string"),
    ("premise", "hypothesis"),
    ("sentence",),
    ("text",),
]
LABELS = ["gold_label", "label", "is_duplicate", "quality", "score"]


def columns_of(path, header, wanted):
    """The columns (counted from 0) of the texts and the label.

    Args:
        path (str): for messages.
        header (list[str]): the first line's fields.
        wanted (str | None): --columns, names or numbers counted from 1, the label last.
    """
    names = [name.strip().lower() for name in header]
    if wanted:
        found = []
        for name in wanted.split(","):
            if name.isdecimal():
                if not 1 <= int(name) <= len(names):
                    fail(f"{path}: no column {name}, it has {len(names)}")
                found.append(int(name) - 1)
            elif name.strip().lower() in names:
                found.append(names.index(name.strip().lower()))
            else:
                fail(f"{path}: no column '{name}' in its header ({', '.join(header)})")
        if not 2 <= len(found) <= 3:
            fail("--columns wants TEXT,LABEL or TEXT1,TEXT2,LABEL")
        return found[:-1], found[-1]
    texts = next((texts for texts in TEXTS if all(name in names for name in texts)), None)
    label = next((name for name in LABELS if name in names), None)
    if texts is None or label is None:
        missing = "column of texts" if texts is None else "column of labels"
        fail(f"{path}: no {missing} known by name in its header ({', '.join(header)}); name them with --columns")
    return [names.index(name) for name in texts], names.index(label)


def read_table(path, wanted, has_header):
    """Return a list of (line number, texts, label)."""
    rows, texts, label, width = [], None, None, 0
    for number, line in read_lines(path):
        if not line.strip():
            fail(f"{path}, line {number}: empty line")
        fields = line.split("\t")
        if texts is None:
            texts, label = columns_of(path, fields, wanted)
            width = max(*texts, label) + 1
            if has_header:
                continue
        if len(fields) < width:
            fail(f"{path}, line {number}: {len(fields)} columns where at least {width} are needed")
        row = [tidy(fields[column]) for column in texts]
        if not all(row):
            fail(f"{path}, line {number}: empty text")
        if not fields[label].strip():
            fail(f"{path}, line {number}: empty label")
        rows.append((number, row, fields[label].strip()))
    if not rows:
        fail(f"{path}: no examples in it")
    return rows


def check_labels(tables, paths, regression):
    """The labels of train in order (numbers by size), none for regression; exits where a label cannot be used."""
    if regression:
        for split, rows in tables.items():
            for number, _, label in rows:
                if not is_number(label):
                    fail(f"{paths[split]}, line {number}: '{label}' is not a number, as --regression needs")
        return []
    known = {label for _, _, label in tables["train"]}
    for split, rows in tables.items():
        for number, _, label in rows:
            if len(label.split()) > 1:
                fail(f"{paths[split]}, line {number}: the label '{label}' has a space in it")
            if label not in known:
                listed = ", ".join(sorted(known)[:10])
                fail(f"{paths[split]}, line {number}: the label '{label}' is not in the training part ({listed})")
    if len(known) < 2:
        fail(f"{paths['train']}: all labels are '{known.pop()}', there is nothing to learn")
    if len(known) > 1000:
        fail(f"{paths['train']}: {len(known)} different labels; are they numbers? then say --regression")
    return sorted(known, key=lambda label: (0, int(label), label) if label.isdecimal() else (1, 0, label))


def in_models_order(labels, path):
    """The labels of a model (its dictionary is the file `path`) if all of `labels` are among them, else `labels`."""
    known = [line.rsplit(" ", 1)[0] for _, line in read_lines(path)]
    if set(labels) <= set(known):
        return known
    print(f"the model's labels are {' '.join(known)}, these are other ones: it will get a new head")
    return labels


def read_tables(args):
    """Return {split: rows} and {split: path}, from one file or from one a split."""
    if args.split:
        if args.train or args.valid or args.test:
            fail("--split excludes --train, --valid and --test")
        tables = {split: [] for split in SPLITS}
        for row in sample(read_table(args.split, args.columns, not args.no_header), args.limit):
            tables[split_of(" ".join(row[1]), args.valid_fraction, args.test_fraction)].append(row)
        return tables, dict.fromkeys(SPLITS, args.split)
    paths = {split: path for split in SPLITS if (path := getattr(args, split))}
    if not {"train", "valid"} <= set(paths):
        fail("give --train and --valid (and --test), or --split")
    tables = {
        split: sample(read_table(path, args.columns, not args.no_header), args.limit) for split, path in paths.items()
    }
    return tables, paths


def sample(rows, limit):
    """At most `limit` rows in their order, the same ones every time; files are often sorted by label."""
    return [rows[i] for i in chosen(["\t".join(texts) for _, texts, _ in rows], limit)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, metavar="DIR", help="existing folder to write to")
    for split in SPLITS:
        parser.add_argument(f"--{split}", metavar="TSV")
    parser.add_argument("--split", metavar="TSV", help="one file for all splits")
    parser.add_argument("--valid-fraction", type=fraction, default=0.1)
    parser.add_argument("--test-fraction", type=fraction, default=0.1)
    parser.add_argument("--columns", metavar="TEXT[,TEXT2],LABEL", help="names, or numbers counted from 1")
    parser.add_argument("--no-header", action="store_true", help="the first line is an example (needs --columns)")
    parser.add_argument("--regression", action="store_true", help="labels are numbers")
    parser.add_argument("--labels", metavar="DICT", help="label dictionary of a model, whose order is kept")
    parser.add_argument("--limit", type=int, metavar="N", help="use only N examples of each file, chosen by a hash")
    parser.add_argument("--limit-train", type=int, metavar="N", help="train on only N examples, chosen by a hash")
    args = parser.parse_args()
    if args.no_header and not (args.columns and all(part.isdecimal() for part in args.columns.split(","))):
        fail("--no-header needs --columns with numbers")

    tables, paths = read_tables(args)
    tables["train"] = sample(tables["train"], args.limit_train)
    for split, rows in tables.items():
        if not rows:
            fail(f"{paths[split]}: too few examples, none fell into {split}")
    if len({len(rows[0][1]) for rows in tables.values()}) > 1:
        fail("some files hold single sentences, others pairs")

    labels = check_labels(tables, paths, args.regression)
    if args.labels and labels:
        labels = in_models_order(labels, args.labels)
    out = {}
    for split, rows in tables.items():
        for i in range(len(rows[0][1])):
            out[f"{split}.input{i}"] = [texts[i] for _, texts, _ in rows]
        out[f"{split}.label"] = [label for _, _, label in rows]
    if labels:
        count = {label: sum(row[2] == label for row in tables["train"]) for label in labels}
        out["label.dict.txt"] = [f"{label} {count[label]}" for label in labels]
    write_splits(args.out, out)
    sizes = ", ".join(f"{len(rows)} {split}" for split, rows in tables.items())
    print(f"{sizes}; {'numbers to predict' if args.regression else 'labels: ' + ' '.join(labels)}")


if __name__ == "__main__":
    main()
