"""How damaged and hostile files end."""

from .markdown import number, provenance, read, table, versions

TITLE = "Damaged and hostile files"
COMMAND = "python tests/hostile/trials.py"
REPORT = "docs/hostile/hostile.json"
BAD = ("traceback", "hang", "memory", "executed", "silently changed")


def section() -> list[str]:
    """A row for each kind of file, and what the columns mean."""
    report = read(REPORT)
    rows = report["rows"]
    columns = list(next(iter(rows.values())))
    bad = sum(rows["together"][column] for column in BAD)
    return [
        "Files and command lines that were changed at random, each given to one of this plugin's commands or, with the"
        " plugin imported, to one of fairseq's. *refused*: one line and a non-zero status, nothing written; *read*:"
        " used as an undamaged file is. The other columns are failures: an error of more than one line, more than"
        f" {report['seconds']} seconds of a processor, more memory than twice the file's size and 1 GB, something in"
        " the file ran or was looked up, an answer that differs without a word.",
        table(["files", *columns], [[kind, *(number(row[name]) for name in columns)] for kind, row in rows.items()], 1),
        "No trial failed." if not bad else f"**{bad:,} trials failed.**",
        provenance(f"seed {report['seed']}", versions(report)),
    ]
