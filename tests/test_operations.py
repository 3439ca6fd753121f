"""Nothing is computed that was not computed before: operations are counted, not seconds."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import scipy.sparse as sp
import torch

from gnnimpute._rows import Rows

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "speed" / "operations.py"


@pytest.fixture(scope="module")
def operations():
    spec = importlib.util.spec_from_file_location("operations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_more_operations_than_written_down(operations):
    now, before = operations.measured(), json.loads(operations.RECORD.read_text(encoding="utf-8"))
    changes = {
        f"{what}, {name}": now[what][name] / value - 1
        for what, numbers in before.items()
        for name, value in numbers.items()
    }
    advice = f"if that was meant: python {SCRIPT.relative_to(SCRIPT.parents[2])} --write"
    assert max(changes.values()) < 0.02, f"more is computed than before, {advice}: {changes}"
    assert min(changes.values()) > -0.1, f"much less is computed than before: hold on to it, {advice}: {changes}"


def test_what_is_counted(operations):
    a, b = torch.ones(3, 4), torch.ones(4, 5)
    with operations.Counted() as counted:
        a @ b
    assert (counted.calls, counted.multiply_adds, counted.bytes) == (1, 3 * 4 * 5, 4 * (12 + 20 + 15))


def test_of_a_sparse_matrix_only_non_zeros_count(operations):

    rows = Rows(sp.csr_matrix(([1.0, 2.0], ([0, 2], [1, 3])), shape=(3, 40), dtype="float32"), 1.0)
    gathered = rows.gather(slice(None))
    gathered.rows  # noqa: B018 -- made before anything is counted
    with operations.Counted() as counted, torch.no_grad():
        gathered @ torch.ones(40, 5)
    assert counted.multiply_adds == 2 * 5


@torch.inference_mode()
def test_layers_are_counted_as_the_products_they_are_made_of(operations):
    with operations.Counted() as counted:
        torch.nn.Linear(4, 5)(torch.ones(3, 4))
    assert counted.multiply_adds == 3 * 4 * 5


def test_gradients_are_counted_too(operations):
    weight = torch.ones(4, 5, requires_grad=True)
    with operations.Counted() as counted:
        (torch.ones(3, 4) @ weight).sum().backward()
    assert counted.multiply_adds == 2 * 3 * 4 * 5
