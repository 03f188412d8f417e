"""python batches.py BATCH LIMIT WORKERS: how much each worker takes in a pass, and the passes of an update."""

import sys


def share(batch, limit, workers):
    """(a worker's share of a pass, at most `limit`; passes accumulated to an update of `batch`, or hardly more)."""
    passes = -(-batch // (limit * workers))
    return -(-batch // (passes * workers)), passes


if __name__ == "__main__":
    print(*share(*map(int, sys.argv[1:])), sep="\n")
