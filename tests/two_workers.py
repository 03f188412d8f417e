"""Run a training in two workers (gloo, on the CPU)."""

import socket

import fresh

WORKERS = (
    *("--distributed-world-size", "2", "--distributed-init-method", "env://", "--distributed-no-spawn", "--device-id"),
    *("0", "--distributed-backend", "gloo", "--ddp-backend", "legacy_ddp", "--load-checkpoint-on-all-dp-ranks"),
)


def by_two(*command):
    """Run the training *command* in two workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [str(part) for part in (*command, *WORKERS)]
    workers = [
        fresh.start([*command, "--distributed-rank", str(rank)], None, master | {"RANK": str(rank)})
        for rank in range(2)
    ]
    for process, output in workers:
        process.join(120)
        output.seek(0)
        assert process.exitcode == 0, output.read()[-4000:]
