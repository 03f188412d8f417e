"""Fixtures: a criterion that estimates importance, within the tests' process."""

import estimating
import one_by_one
import pytest

from layerdrop_plugin.importance import running_estimate


@pytest.fixture(autouse=True)
def no_end(monkeypatch):
    """The process that runs the tests goes on."""
    monkeypatch.setattr(running_estimate, "Finalize", lambda *_, **__: None)


@pytest.fixture
def run(data, tmp_path):
    """Build the criterion of a run; returns it and the run's configuration."""

    def start(kind, **options):
        name = one_by_one.KINDS[kind][1]
        root = estimating.root_of(data, tmp_path, **({"base_criterion": name} | options))
        return estimating.build(root), root

    return start
