"""The whole of the trials: ``python tests/hostile/trials.py [--cases N] [--seed N] [--jobs N] [--out FILE]``.

Prints how each kind of damaged or hostile file ended, and writes the table as JSON. After an interruption the same
command goes on where it was, unless the code has changed: FILE.partial has a line for each case that has ended.
``--only KIND:NUMBER`` runs one case again and prints what its command said.
"""

import argparse
import concurrent.futures
import contextlib
import hashlib
import json
import logging
import multiprocessing
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import bases as good  # noqa: E402
import builders  # noqa: E402
import checkpoints  # noqa: E402
import commands  # noqa: E402
import harness  # noqa: E402
import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

import layerdrop_plugin  # noqa: E402
from layerdrop_plugin.provenance import made_with  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
OUT = ROOT / "docs" / "hostile" / "hostile.json"
MAKERS = {maker.__name__: maker for maker in commands.WHOLE}
Name = tuple[str, int]  # the function that makes it, and the number of its case


def names(share: float) -> list[Name]:
    """The cases of that *share* of the whole."""
    counts = {maker.__name__: max(1, round(count * share)) for maker, count in commands.WHOLE.items()}
    return [(name, number) for name, count in counts.items() for number in range(count)]


def case(name: Name, models: list[good.Base], seed: int) -> harness.Case:
    """The case called *name*, the same whichever others are made."""
    return MAKERS[name[0]](models, random.Random(f"{seed} {name[0]} {name[1]}"))


def prepare(data: Path, folder: Path) -> list[good.Base]:
    """Import, once before all forks, what cases will; return a good checkpoint of each kind of model.

    Args:
        data: the data folder.
        folder: where the checkpoints are written.
    """
    import fairseq_cli.eval_lm
    import fairseq_cli.generate
    import fairseq_cli.train
    import fairseq_cli.validate  # noqa: F401

    import layerdrop_plugin.averaging  # noqa: F401
    from layerdrop_plugin.cli.main import build_parser
    from layerdrop_plugin.pruning.parent import Parent
    from layerdrop_plugin.pruning.plan import Plan
    from layerdrop_plugin.pruning.prune import prune

    build_parser()
    models = [
        good.Base(checkpoints.save(folder / f"{kind}.pt", data, kind), kind, data, where)
        for kind, (where, _) in checkpoints.KINDS.items()
    ]
    for base in models:  # torch imports much when a meta tensor is first used
        prune(Parent.load(base.path), Plan())
    return models


def run_all(
    wanted: list[Name], models: list[good.Base], folder: Path, seed: int, jobs: int = 1
) -> Iterator[tuple[Name, harness.Found]]:
    """Run the cases *wanted* in *folder*, *jobs* at a time, and print those that end badly."""
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    try:
        fork = multiprocessing.get_context("fork")  # models need not be pickled, nothing is imported again
        with concurrent.futures.ProcessPoolExecutor(jobs, fork, _worker.update, [_of(models, folder, seed)]) as pool:
            for name, found in zip(wanted, pool.map(_run, wanted), strict=True):
                if found.column in harness.BAD:
                    tqdm.write(
                        f"{found.column}: {name[0]}:{name[1]}: {found.name!r}: {found.command}\n{found.output[-600:]}"
                    )
                yield name, found
    finally:
        logging.disable(logging.NOTSET)


_worker: dict = {}  # what a worker of run_all was started with


def _of(models: list[good.Base], folder: Path, seed: int) -> dict:
    return {"models": models, "folder": folder, "seed": seed}


def _run(name: Name) -> harness.Found:
    return harness.run(case(name, _worker["models"], _worker["seed"]), _worker["folder"] / f"{name[0]}{name[1]}")


class Progress:
    """The file in which a run says which cases have ended, and how.

    Attributes:
        ended: (name of the case, row and column of the table) of each.
    """

    def __init__(self, path: Path, settings: dict):
        self.path, self.ended = path, []
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        rows = []
        for line in lines:
            with contextlib.suppress(ValueError):  # the last one of a killed run may be cut short
                rows.append(json.loads(line))
        if rows and rows[0] == settings:
            self.ended = [((name, number), kind, column) for name, number, kind, column in rows[1:]]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in ([settings], rows)[bool(self.ended)]))

    def add(self, name: Name, found: harness.Found) -> None:
        """Write down that a case has ended."""
        self.ended.append((name, found.kind, found.column))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps([*name, found.kind, found.column])}\n")


def code() -> str:
    """SHA-256 of the plugin's and the trials' sources."""
    files = [*Path(layerdrop_plugin.__file__).parent.rglob("*.py"), *Path(__file__).parent.glob("*.py")]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(files))).hexdigest()


def main() -> None:
    """Run the trials that the command line asks for; status 1 if one of them ended as none may."""
    whole = sum(commands.WHOLE.values())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=whole, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N", help="how many at a time")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="JSON file to write")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="run this case again and write nothing")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "data").mkdir()
        builders.write_data(folder / "data")
        models = prepare(folder / "data", folder)
        if args.only:
            kind, number = args.only.split(":")
            _, found = next(run_all([(kind, int(number))], models, folder, args.seed))
            sys.exit(f"{found.name}: {found.command}\n{found.output}\n{found.column}")
        wanted = names(args.cases / whole)
        settings = {"cases": len(wanted), "seed": args.seed, "code": code()}
        progress = Progress(args.out.with_name(f"{args.out.name}.partial"), settings)
        left = sorted({*wanted} - {name for name, *_ in progress.ended})
        bar = tqdm(total=len(wanted), initial=len(wanted) - len(left), unit="case")
        for name, found in run_all(left, models, folder, args.seed, args.jobs):
            progress.add(name, found)
            bar.update()
        bar.close()
    rows = harness.table([(kind, column) for _, kind, column in progress.ended])
    rows["together"] = {column: sum(row[column] for row in rows.values()) for column in harness.COLUMNS}
    print(f"{'':28}" + "".join(f"{column:>17}" for column in harness.COLUMNS))
    for kind, row in rows.items():
        print(f"{kind:28}" + "".join(f"{row[column]:17,}" for column in harness.COLUMNS))
    record = {"type": "layerdrop.hostile", "version": 2, "seed": args.seed, "seconds": harness.SECONDS, "rows": rows}
    record |= made_with(None)
    args.out.write_text(json.dumps(record, indent=2) + os.linesep, encoding="utf-8")
    progress.path.unlink()
    print(f"wrote {args.out}")
    sys.exit(any(rows["together"][column] for column in harness.BAD))


if __name__ == "__main__":
    main()
