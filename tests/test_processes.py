"""Which process this is."""

from __future__ import annotations

import pytest

from gnnimpute._processes import Place, place

STARTED = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.mark.parametrize("missing", [None, *STARTED])
def test_only_what_torchrun_sets_makes_a_process_one_of_several(monkeypatch, missing):
    for name, value in STARTED.items():
        monkeypatch.setenv(name, value)
    if missing is None:
        assert place() == Place(1, 2, 1)
        assert not place().is_first
    else:
        monkeypatch.delenv(missing)
        assert place() == Place(0, 1, 0)
        assert place().is_first


def test_one_process_is_alone(monkeypatch):
    for name, value in (STARTED | {"RANK": "0", "WORLD_SIZE": "1"}).items():
        monkeypatch.setenv(name, value)
    assert place() == Place()
