"""Damage to the bytes of a checkpoint, and archives whose entries or pickles are not those of torch."""

import io
import random
import struct
import warnings
import zipfile

from bases import Base, written
from harness import Case


def flipped(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """*content* with damage as disks and networks do it."""
    how = rng.choice(("bit", "bit", "bit", "bytes", "zeros", "cut", "insert", "append", "swap"))
    place, changed = rng.randrange(len(content)), bytearray(content)
    if rng.random() < 0.3:  # the directory at the end
        place = max(0, len(content) - 1 - rng.randrange(4000))
    if how == "bit":
        changed[place] ^= 1 << rng.randrange(8)
    elif how == "bytes":
        changed[place : place + 8] = rng.randbytes(len(changed[place : place + 8]))
    elif how == "zeros":
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    elif how == "cut":
        del changed[place:]
    elif how == "insert":
        changed[place:place] = rng.randbytes(rng.randint(1, 64))
    elif how == "append":
        changed += rng.randbytes(rng.randint(1, 64))
    else:
        other = rng.randrange(len(content))
        changed[place], changed[other] = changed[other], changed[place]
    return f"{how} at {place}", bytes(changed)


def damaged(bases: list[Base], rng: random.Random) -> Case:
    """Archives with flipped bits and the like; what still reads must read as it did."""
    base = rng.choice(bases)
    name, content = flipped(base.bytes, rng)
    command = rng.choice([base.prune, base.prune, ["layerdrop", "check", "parent.pt"], ["load", "parent.pt"]])
    wanted = "same" if command is base.prune else "any"
    return Case("bytes of an archive", name, written(content), command, wanted, base.is_pruned_alike)


def damaged_legacy(bases: list[Base], rng: random.Random) -> Case:
    """The same in the format before 2020, which has no checksums: other numbers cannot be told from the right ones."""
    base = rng.choice(bases)
    name, content = flipped(base.legacy_bytes, rng)
    return Case("bytes, format before 2020", name, written(content), base.commands(rng))


def _entries(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def archived(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of *entries* with right checksums."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, warnings.catch_warnings(action="ignore"):  # duplicate names
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def archives(bases: list[Base], rng: random.Random) -> Case:
    """Archives whose entries are not those of torch, or not as long as the pickle says."""
    base = rng.choice(bases)
    entries = _entries(base.bytes)
    top, number = entries[0][0].split("/")[0], rng.randrange(len(entries))
    name, content = entries[number]
    how = rng.choice(("deflate", "bzip", "foreign", "twice", "gone", "short", "long", "renamed", "torchscript", "bomb"))
    method, wanted = zipfile.ZIP_STORED, "refuse"
    if how in ("deflate", "bzip"):
        method = zipfile.ZIP_DEFLATED if how == "deflate" else zipfile.ZIP_BZIP2
    elif how == "foreign":
        entries.append((rng.choice((f"{top}/code/x.py", "../../x", "/etc/x", f"{top}/data/x", "other/data/0")), b"x"))
    elif how == "twice":
        entries.append(entries[number])
    elif how == "gone":
        del entries[number]
        wanted = "refuse" if "/data" in name and ".data" not in name else "any"
    elif how == "short":
        entries[number] = (name, content[: len(content) // 2])
        wanted = "refuse" if "/data" in name and ".data" not in name and content else "any"
    elif how == "long":
        entries[number] = (name, content + bytes(8))
        wanted = "refuse" if "/data/" in name else "any"
    elif how == "renamed":
        entries[number] = (name + "0", content)
    elif how == "torchscript":
        entries.append((f"{top}/constants.pkl", content))
    else:
        entries.append((f"{top}/data/999", bytes(1 << 24)))
        method = zipfile.ZIP_DEFLATED
    return Case(
        "entries of an archive", f"{how} {name}", written(archived(entries, method)), base.commands(rng), wanted
    )


def pickles(bases: list[Base], rng: random.Random) -> Case:
    """Pickles with changed opcodes and arguments, in archives whose checksums are right."""
    base = rng.choice(bases)
    entries = _entries(base.bytes)
    number = next(i for i, (name, _) in enumerate(entries) if name.endswith("data.pkl"))
    content = bytearray(entries[number][1])
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(content))
        how = rng.randrange(5)
        if how == 0:
            content[place] = rng.choice(b"R.bc\x81Q}]()ltu0e(\x85\x86\x87Kh\x8a\x8br\x96\x97U\x8c")
        elif how == 1:
            content[place : place + 4] = struct.pack("<I", rng.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 24)))
        elif how == 2:
            content[place:place] = rng.choice((b"r\xff\xff\xff\x7f", b"\x8a\xff" + b"\x7f" * 255, b"(" * 500, b"]" * 3))
        elif how == 3:
            del content[place : place + rng.randint(1, 9)]
        else:
            content[place] = rng.randrange(256)
    entries[number] = (entries[number][0], bytes(content))
    return Case("pickles", f"pickle {rng.random()}", written(archived(entries)), base.commands(rng))
