"""python installed.py FOLDER MODULE...: status 0 if this Python's plugin is FOLDER and the MODULEs can be imported."""

import importlib.util
import os
import sys


def is_installed(folder, *modules):
    """Whether layerdrop_plugin is the folder of that name here (and not another checkout's), with its command."""
    found = importlib.util.find_spec("layerdrop_plugin")
    return (
        found is not None
        and os.path.samefile(os.path.dirname(found.origin), folder)
        and os.access(os.path.join(os.path.dirname(sys.executable), "layerdrop"), os.X_OK)
        and all(map(importlib.util.find_spec, modules))
    )


if __name__ == "__main__":
    sys.exit(not is_installed(*sys.argv[1:]))
