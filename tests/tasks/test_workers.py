"""Two workers (gloo, on the CPU) through fairseq-train: laws 4 and 5, crashes, and going on with more or fewer."""

import os
import signal
import socket
import time
from pathlib import Path

import builders
import fresh
import pytest
import torch

# Adam with a large epsilon: gradients that are zero but for rounding (of the keys' biases) must not decide its steps.
TRAIN = (*builders.NMT, "--adam-eps", "1e-4", "--save-interval-updates", "100", "--log-interval", "1")
DROP = ("--encoder-layerdrop", "0.4", "--decoder-layerdrop", "0.4")
WORKERS = (
    *("--distributed-world-size", "2", "--distributed-init-method", "env://", "--distributed-no-spawn", "--device-id"),
    *("0", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp", "--load-checkpoint-on-all-dp-ranks"),
)


def start_workers(data, folder, *options):
    """Begin a training by two workers; returns their processes and the files that their outputs go to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["fairseq-train", data / "nmt", "--save-dir", folder, *TRAIN, *WORKERS, *options]
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    return [
        fresh.start([str(part) for part in (*command, "--distributed-rank", rank)], None, master | {"RANK": str(rank)})
        for rank in range(2)
    ]


def wait(workers, seconds=120) -> list[tuple[int | None, str]]:
    """Exit status (None: still running, then killed) and output of each worker."""
    found = []
    end = time.monotonic() + seconds
    for process, output in workers:
        process.join(max(0.1, end - time.monotonic()))
        status = process.exitcode
        process.kill()
        output.seek(0)
        found.append((status, output.read()))
    return found


def train_by_two(data, folder, *options):
    found = wait(start_workers(data, folder, *options))
    assert [status for status, _ in found] == [0, 0], found[0][1][-3000:] + found[1][1][-3000:]
    return weights(folder), found[0][1]


def train_by_one(data, folder, *options):
    output = builders.run("fairseq-train", data / "nmt", "--save-dir", folder, *TRAIN, *options).stdout
    return weights(folder), output


def weights(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def assert_same(found, expected, tolerance=1e-6):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=tolerance, rtol=0, msg=lambda m, n=name: f"{n}: {m}")


def test_without_layerdrop_two_workers_are_one_of_twice_the_batches(data, tmp_path):
    two, _ = train_by_two(data, tmp_path / "two", "--max-update", "5")
    one, _ = train_by_one(data, tmp_path / "one", "--max-update", "5", "--update-freq", "2")
    assert_same(two, one)


def test_two_workers_drop_the_same_layers_and_resume_their_draws(data, tmp_path):
    """Each update sees all sentences: one worker takes them at once, two take a half each with the same draw."""
    alone, _ = train_by_one(data, tmp_path / "one", "--max-update", "4", *DROP, "--batch-size", "120")
    half = (*DROP, "--batch-size", "60")
    whole, _ = train_by_two(data, tmp_path / "two", "--max-update", "4", *half)
    assert_same(whole, alone, 2e-6)
    first, _ = train_by_two(data, tmp_path / "resumed", "--max-update", "2", *half)
    resumed, output = train_by_two(data, tmp_path / "resumed", "--max-update", "4", *half)
    assert "Loaded checkpoint" in output
    assert_same(resumed, whole)
    assert any(not torch.equal(first[name], value) for name, value in whole.items())


def test_two_workers_learn_the_rates_that_one_does_and_resume_them(data, tmp_path):
    """As above; rates are learned from the eleventh update on."""
    learn = (*DROP, "--learn-layerdrop", "--learn-layerdrop-lr", "0.3", "--no-epoch-checkpoints")
    alone, output = train_by_one(data, tmp_path / "one", "--max-update", "16", *learn, "--batch-size", "120")
    assert "encoder_layerdrop_max=" in output
    assert "decoder_layerdrop_mean=0.4" in output
    half = (*learn, "--batch-size", "60")
    train_by_two(data, tmp_path / "resumed", "--max-update", "13", *half)
    resumed, _ = train_by_two(data, tmp_path / "resumed", "--max-update", "16", *half)
    assert_same(resumed, alone, 1e-4)
    for stack in ("encoder", "decoder"):
        rates = resumed[f"{stack}.learned_rates.rates"]
        assert abs(rates.mean() - 0.4) < 1e-6
        assert rates.max() - rates.min() > 0.05
        assert resumed[f"{stack}.learned_rates.updates"] == 16


def test_another_number_of_workers_goes_on_at_its_place(data, tmp_path):
    """After two of an epoch's four updates; fairseq itself would take some batches twice."""
    whole, _ = train_by_one(data, tmp_path / "whole", "--max-update", "4", "--update-freq", "2")
    train_by_two(data, tmp_path / "run", "--max-update", "2")
    found, output = train_by_one(data, tmp_path / "run", "--max-update", "4", "--update-freq", "2")
    assert "2 workers have begun this run, 1 go on" in output
    assert_same(found, whole)
    train_by_one(data, tmp_path / "odd", "--max-update", "3")
    for status, output in wait(start_workers(data, tmp_path / "odd", "--max-update", "5")):
        assert status == 1
        assert "--reset-dataloader" in output.strip().splitlines()[-1]
    train_by_two(data, tmp_path / "odd", "--max-update", "5", "--reset-dataloader")


def test_a_killed_worker_ends_the_job(data, tmp_path):
    workers = start_workers(data, tmp_path, "--max-update", "100000", *DROP)
    end = time.monotonic() + 60
    while "num_updates=3" not in Path(workers[0][1].name).read_text():
        assert time.monotonic() < end, wait(workers, 1)[0][1][-3000:]
        time.sleep(0.2)
    os.kill(workers[1][0].pid, signal.SIGKILL)
    (status, output), _ = wait(workers, 60)
    assert status not in (0, None), output[-2000:]


@pytest.mark.parametrize("option", ["--encoder-layerdrop", "--decoder-layerdrop"])
def test_fully_sharded_is_refused_at_start(option, data, tmp_path):
    result = builders.run(
        *("fairseq-train", data / "nmt", "--save-dir", tmp_path / "run", *builders.NMT, option, "0.2"),
        *("--ddp-backend", "fully_sharded"),
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stdout
    assert "fully_sharded" in result.stdout.strip().splitlines()[-1]
