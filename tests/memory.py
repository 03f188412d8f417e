"""Memory that a piece of code takes, counted by torch's profiler: the same on every machine, busy or not."""

from torch.profiler import ProfilerActivity, profile


def peak(function) -> int:
    """Most bytes of tensors on the CPU that *function* held at a time, temporaries within torch's kernels included."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert events
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
