"""What a recipe started ends with it, also where it was killed and other recipes stand between."""

import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import RECIPES
from .test_jobs import alive

JOB = 'echo $$ >"$0/pid"; sleep 60 & wait'
TRAIN = f'{sys.executable} "$LIB/training_log.py" run "$0/train.log" bash -c "$JOB" "$0"'
STARTS = {
    "a training": f'source "$LIB/common.sh"; {TRAIN}; true',
    "a training of another recipe": 'source "$LIB/common.sh"; bash -c "$TRAINS" "$0"; true',
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("start", STARTS)
def test_a_killed_recipe_ends_its_training(tmp_path, start, number):
    variables = {"LIB": str(RECIPES / "lib"), "TRAINS": STARTS["a training"], "JOB": JOB}
    inherited = {name: value for name, value in os.environ.items() if name != "LAYERDROP_RECIPE"}
    process = subprocess.Popen(["bash", "-c", STARTS[start], tmp_path], env=inherited | variables)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    group = int((tmp_path / "pid").read_text())
    assert alive(group)
    process.send_signal(number)
    process.wait(30)
    while alive(group):
        assert time.monotonic() < deadline
        time.sleep(0.05)
