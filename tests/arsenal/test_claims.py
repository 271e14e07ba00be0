"""The claims say yes and no where the planted figures do."""

from __future__ import annotations

import pytest

from bench.arsenal.claims import no_more, strength_claims, success_claims, tally, tiny_claims
from bench.arsenal.record import Chain, Success, SuccessRow, Tiny, TinyNetwork
from bench.verdict.stats import ratio

KEY = "0" * 64


def answers(record, network="mlp"):
    return {claim.claim: (claim.answer, claim.figures) for claim in strength_claims(record, record.networks[network])}


def test_each_claim_compares_the_sides_it_names(strength):
    found = answers(strength)
    peers = "the best of 1 of 2 peers"
    # least of each class: ensemble 3 6, without sigma_zero 3 6, sigma_zero 4 6, peer raw 5 7, peer pruned 3 5
    assert found[f"per class, the ensemble needs no more pixels than {peers}, raw"] == (
        "yes",
        "2 of 2, 2 of them with fewer",
    )
    assert found[f"per class, the ensemble needs no more pixels than {peers}, pruned"] == (
        "no",
        "1 of 2, 0 of them with fewer",
    )
    assert found["per class, the ensemble needs no more pixels than sigma_zero alone"] == (
        "yes",
        "2 of 2, 1 of them with fewer",
    )
    assert found["per target, the ensemble needs no more pixels than sigma_zero alone"] == (
        "yes",
        "4 of 4, 1 of them with fewer",
    )
    # without sigma_zero the third target has no image, and the fourth needs 9 where sigma_zero needs 8
    assert found["per target, the ensemble without sigma_zero needs no more pixels than sigma_zero alone"] == (
        "no",
        "2 of 4, 1 of them with fewer",
    )


def test_what_was_not_measured_is_no_yes(strength):
    del strength.networks["mlp"].cells["foolbox:A"]
    found = answers(strength)
    claim = "per class, the ensemble needs no more pixels than the best of 0 of 2 peers, raw"
    assert found[claim] == ("not measured", "")


def test_a_class_nothing_was_found_for_never_holds(strength):
    cells = strength.networks["mlp"].cells
    for name in ("sigma_zero", "other"):
        cells[name] = cells[name].model_copy(update={"pixels": (4, None, 5, None)})
    found = answers(strength)
    assert found["per class, the ensemble needs no more pixels than the best of 1 of 2 peers, raw"][0] == "no"
    assert found["per target, the ensemble needs no more pixels than sigma_zero alone"][0] == "no"


@pytest.mark.parametrize(
    ("ours", "theirs", "holds"),
    [(3, 3, True), (3, 4, True), (4, 3, False), (3, None, True), (None, 3, False), (None, None, False)],
)
def test_no_more(ours, theirs, holds):
    assert no_more(ours, theirs) is holds


def tiny(optimum, reached, planned=("000",), enumerated=4):
    network = TinyNetwork(key=KEY, family="f", optimum=optimum, enumerated=enumerated, reached=reached, revision="abc")
    return Tiny(
        command="c",
        seed=0,
        settings={"passes": 100, "p": 0.9},
        revision="abc",
        ensemble=tuple(reached),
        planned=planned,
        networks={"000": network},
    )


def test_tiny_counts_the_best_attack_of_each_class():
    record = tiny((2, 3, None), {"a": (2, 4, 5), "b": (3, 3, None)})
    assert vars(tally(record, "f", ["a", "b"])) == {"known": 2, "equal": 2, "below": 0}
    assert vars(tally(record, "f", ["a"])) == {"known": 2, "equal": 1, "below": 0}
    assert tiny_claims(record)[0].answer == "yes"


@pytest.mark.parametrize(
    ("optimum", "reached", "planned", "answer"),
    [
        ((2, 3), (2, 4), ("000",), "no"),  # one class missed
        ((2, 3), (2, None), ("000",), "no"),
        ((2, 3), (1, 3), ("000",), "no"),  # better than the best: the enumeration is wrong
        ((2, None), (2, 4), ("000",), "no"),  # 4 pixels were tried, and none reached it
        ((2, None), (2, 5), ("000",), "yes"),
        ((2, 3), (2, 3), ("000", "001"), "no"),  # one network is not measured
        ((None, None), (None, None), ("000",), "not measured"),
    ],
)
def test_tiny_says_yes_only_where_every_optimum_is_reached(optimum, reached, planned, answer):
    assert tiny_claims(tiny(optimum, {"a": reached}, planned))[0].answer == answer


def success(chains):
    """Attack -> (successes of 300, fooled, passes, its part of the cascade)."""
    rows = {
        name: SuccessRow(
            reached=ratio(reached, 300),
            healthy=ratio(reached, 300).lower >= 0.95,
            outcomes={"fooling": len(fooled)},
            passes=passes,
            fooled=fooled,
            seconds=1,
            chain=chain,
        )
        for name, (reached, fooled, passes, chain) in chains.items()
    }
    return Success(
        command="c", seed=0, settings={}, revision="abc", dataset="d", network="cnn", accuracy=0.9, targets=300,
        passes=2000, restarts=2, health=0.95, rows=rows,
    )  # fmt: skip


def claims_of(record):
    return [(claim.answer, claim.figures) for claim in success_claims(record)]


def test_success_compares_the_cascade_with_all_attacks():
    record = success(
        {
            "a": (300, (0, 1), 500, Chain(targets=300, passes=500, fooled=(0, 1))),
            "b": (290, (1, 2), 5500, Chain(targets=298, passes=500, fooled=(2,))),
            "given": (300, (0, 1, 2, 3), 9000, None),  # started from others' images: no part of either side
        }
    )
    assert claims_of(record) == [
        ("no", "2 of 3; not b"),  # 290 of 300 has a lower bound of 94.4%
        ("yes", "3 and 3 of 300, 0 differ"),
        ("yes", "6.0 times: 1,000 passes against 6,000"),
    ]


def test_a_cascade_that_fools_fewer_is_not_cheaper():
    record = success(
        {
            "a": (300, (0, 1), 500, Chain(targets=300, passes=500, fooled=(0, 1))),
            "b": (300, (1, 2), 5500, Chain(targets=298, passes=500, fooled=())),
        }
    )
    assert [answer for answer, _ in claims_of(record)] == ["yes", "no", "no"]
