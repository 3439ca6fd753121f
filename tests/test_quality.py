from __future__ import annotations

import inspect

import numpy as np
import pytest

from gnnimpute import pp
from gnnimpute._quality import Limits, Quality, Rule, cell_rules, mito_limit, require_passing, total_limit


def limits(**changes):
    settings = {"min_genes": 200, "min_cells": 3, "max_genes": None, "max_mito_pct": "mad", "max_total": "mad"}
    return Limits(**(settings | changes))


def quality(n=100, **changes):
    settings = {"n_genes": np.full(n, 500), "total_counts": np.full(n, 1000.0), "pct_mito": np.full(n, 2.0)}
    return Quality(**(settings | changes))


def test_totals_far_above_the_others_are_outliers_and_low_ones_are_not(rng):
    total = np.exp(rng.normal(np.log(2000), 0.3, size=1000))
    total[:3] = [50_000, 100_000, 20]
    limit = total_limit(total)
    assert limit < 50_000
    assert (total > limit).sum() == 2


def test_the_limit_of_totals_is_five_deviations_of_logarithms():
    total = np.expm1([4.0, 5.0, 6.0, 7.0, 8.0])  # median 6, deviations 2 1 0 1 2
    assert total_limit(total) == pytest.approx(np.expm1(6 + 5 * 1))


@pytest.mark.parametrize("spread", [0, 1e-3])
def test_equal_totals_are_no_reason_to_fail_twice_their_number(spread):
    total = 1000 + spread * np.arange(99)
    assert 1990 < total_limit(total) < 2010


def test_the_mitochondrial_limit_adapts_to_the_tissue_but_is_never_below_five_per_cent(rng):
    heart = rng.normal(30, 4, size=500)
    assert 35 < mito_limit(heart) < 60
    assert mito_limit(np.zeros(100)) == 5
    assert mito_limit(np.full(100, 40.0)) == 40


def test_nothing_typical_sets_no_limit():
    assert np.isinf(total_limit(np.array([])))
    assert np.isinf(mito_limit(np.array([])))


def test_empty_droplets_do_not_make_cells_outliers():
    total = np.r_[np.full(900, 10.0), np.full(100, 1000.0)]
    n_genes = np.r_[np.full(900, 8), np.full(100, 500)]
    rules = cell_rules(quality(1000, n_genes=n_genes, total_counts=total), limits())
    np.testing.assert_array_equal(require_passing(rules), total > 10)


def test_limits_have_the_defaults_of_prepare():
    asked = inspect.signature(pp.prepare).parameters
    assert vars(Limits()) == {name: asked[name].default for name in vars(Limits())}


def test_exact_numbers_are_inclusive():
    total = np.array([100.0, 101.0])
    given = quality(2, total_counts=total, pct_mito=np.array([5.0, 5.1]), n_genes=np.array([200, 199]))
    for change in ({"max_total": 100}, {"max_mito_pct": 5}, {"min_genes": 200}):
        rules = cell_rules(given, limits(**({"min_genes": 0, "max_total": None, "max_mito_pct": None} | change)))
        assert require_passing(rules).tolist() == [True, False]
    rules = cell_rules(given, limits(min_genes=0, max_genes=199, max_total=None, max_mito_pct=None))
    assert require_passing(rules).tolist() == [False, True]


def test_every_step_can_be_left_out_but_empty_cells_never_pass():
    given = quality(
        3, n_genes=np.array([0, 1, 9]), total_counts=np.array([0.0, 1.0, 1e9]), pct_mito=np.array([0, 99, 1.0])
    )
    rules = cell_rules(given, limits(min_genes=0, max_mito_pct=None, max_total=None))
    assert require_passing(rules).tolist() == [False, True, True]


def test_unknown_mitochondrial_genes_leave_that_step_out():
    rules = cell_rules(quality(pct_mito=None), limits(max_mito_pct=1))
    assert not any("mitochondrial" in rule.reason for rule in rules)


def test_rules_say_how_many_fail_why_and_which_option():
    rules = cell_rules(quality(n_genes=np.arange(150, 250)), limits())
    assert "50 with fewer than 200 genes (min_genes=200)" in map(str, rules)
    assert str(Rule("no counts", "", np.array([True, False]))) == "1 with no counts"


def test_if_nothing_passes_the_worst_rule_is_named_and_none_that_all_meet():
    wrong = r"No cell passes: of 100 cells, 100 with fewer than 600 genes \(min_genes=600\)\. Loosen min_genes=600 "
    wrong += r"\(--min-genes\)\. Half of the cells show 500 genes or more\.$"
    with pytest.raises(ValueError, match=wrong):
        require_passing(cell_rules(quality(), limits(min_genes=600)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_genes": -1},
        {"min_cells": None},
        {"max_genes": "mad"},
        {"max_total": "Mad"},
        {"max_mito_pct": float("nan")},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}=.*: give a number from 0 up"):
        limits(**wrong)
