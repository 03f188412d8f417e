import shutil
import subprocess
import sys
from pathlib import Path

import builders
import pytest

IMPORT = """
import sys
{first}
from argparse import Namespace
from fairseq.utils import import_user_module
import_user_module(Namespace(user_dir={path!r}))
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY
assert "layerdrop_roberta_tiny" in ARCH_MODEL_REGISTRY and "pruning_masked_lm" in TASK_REGISTRY
print("registered")
"""


def import_twice(path, first="import layerdrop_plugin", cwd="/"):
    return builders.run("python", "-c", IMPORT.format(first=first, path=str(path)), cwd=cwd, check=False)


@pytest.mark.parametrize("first", ["", "import layerdrop_plugin"])
@pytest.mark.parametrize("how", ["itself", "relative", "trailing", "link", "renamed link"])
def test_every_path_to_the_same_files_is_the_same(how, first, tmp_path):
    folder = Path(builders.USER_DIR)
    path, cwd = str(folder), "/"
    if how == "relative":
        path, cwd = "./" + folder.name, folder.parent
    elif how == "trailing":
        path += "/../" + folder.name
    elif "link" in how:
        link = tmp_path / ("layerdrop_plugin" if how == "link" else "my_plugin")
        link.symlink_to(folder)
        path = str(link)
    result = import_twice(path, first, cwd)
    assert result.stdout.splitlines()[-1] == "registered", result.stdout


def test_another_copy_is_refused_in_one_line(tmp_path):
    shutil.copytree(builders.USER_DIR, tmp_path / "layerdrop_plugin")
    result = import_twice(tmp_path / "layerdrop_plugin")
    assert result.returncode == 1
    assert len(result.stdout.strip().splitlines()) == 1
    assert "another copy of layerdrop_plugin" in result.stdout


def test_without_fairseq_one_line_says_what_to_install():
    code = """
import importlib.abc, sys
class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "fairseq":
            raise ModuleNotFoundError("No module named 'fairseq'", name="fairseq")
sys.meta_path.insert(0, Hidden())
import layerdrop_plugin
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(builders.USER_DIR).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "pip install" in result.stderr


@pytest.mark.parametrize("command", ["train", "validate", "generate", "interactive", "eval-lm"])
def test_the_plugin_loads_in_every_command(command):
    # fairseq answers an unknown task with the list of those registered
    result = builders.run(f"fairseq-{command}", "--user-dir", builders.USER_DIR, "--task", "nonsense", check=False)
    assert result.returncode == 2
    assert "pruning_sentence_prediction" in result.stdout
