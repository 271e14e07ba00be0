import pytest
import torch
from torch import nn

from bench.errors import BadInputError
from bench.harness.generate import balanced_targets, generate, operating_point
from bench.materials.split import Split
from bench.meter import BudgetExceededError
from bench.types import Budget, ImageSpec, Outcome, ThreatModel
from bench.verify import OUTCOMES

SPEC = ImageSpec((1, 1, 2), 4, ("a", "b"))


class Sum(nn.Module):
    """Class a from the first pixel, class b from the second."""

    def forward(self, images):
        return images.flatten(1) * 9


class Second:
    """Rejects what lights the second pixel less than fully, at three grades."""

    working, strict = 0.2, 0.6

    def score(self, images):
        return 1 - images.flatten(1)[:, 1].double()


def constant(image, passes=1):
    def attack(classifier, targets, *, threat, budget, generator, start=None, mask=None):
        for _ in range(passes):
            classifier(torch.tensor(image).view(1, 1, 1, 2).expand(len(targets), -1, -1, -1))
        return torch.tensor(image).view(1, 1, 1, 2).repeat(len(targets), 1, 1, 1)

    return attack


TWO_STARTS = Budget(4, 2)


def run(attack, budget=TWO_STARTS, targets=(0, 1), **how):
    return generate(
        attack,
        Sum(),
        SPEC,
        torch.tensor(targets, dtype=torch.long),
        threat=ThreatModel(0.9, 2),
        budget=budget,
        judge=Second(),
        seed=3,
        **how,
    )


def test_the_harness_decides_and_counts_passes():
    made = run(constant([1.0, 0.0]))
    assert [OUTCOMES[int(o)] for o in made.verified.outcome] == [Outcome.FOOLING, Outcome.UNCONFIDENT]
    assert made.forward_passes == 2 + 1  # two targets, then the one still standing
    assert made.backward_passes == 0


def test_an_attack_that_overspends_is_stopped():
    with pytest.raises(BudgetExceededError):
        run(constant([1.0, 0.0], passes=3))


def test_a_restart_keeps_the_better_outcome_for_each_target():
    answers = iter([[1.0, 0.5], [1.0, 0.75], [1.0, 0.0]])  # borderline, in distribution, fooling

    def attack(classifier, targets, **_):
        image = next(answers)
        return torch.tensor(image).view(1, 1, 1, 2).repeat(len(targets), 1, 1, 1)

    made = run(attack, Budget(30, 2), targets=(0,))
    assert OUTCOMES[int(made.verified.outcome[0])] == Outcome.BORDERLINE
    answers = iter([[1.0, 0.5], [1.0, 0.75], [1.0, 0.0]])
    made = run(attack, Budget(30, 3), targets=(0,))
    assert OUTCOMES[int(made.verified.outcome[0])] == Outcome.FOOLING


def test_the_budget_is_shared_among_restarts_and_each_draws_anew():
    seen = []

    def attack(classifier, targets, *, budget, generator, **_):
        seen.append((budget, torch.rand(1, generator=generator).item(), len(targets)))
        return torch.zeros(len(targets), 1, 1, 2)

    run(attack, Budget(100, 4))
    assert {share for share, _, _ in seen} == {Budget(25, 1)}
    assert len({draw for _, draw, _ in seen}) == 4


def test_passes_that_early_stops_saved_buy_further_starts_of_what_still_stands():
    shares = []

    def attack(classifier, targets, *, budget, **_):
        shares.append((budget.passes, len(targets)))
        passes, second = (3, 0.75) if len(shares) < 3 else (budget.passes, 0.75 if len(shares) < 4 else 0.0)
        return constant([1.0, second], passes)(classifier, targets, threat=None, budget=budget, generator=None)

    made = run(attack, Budget(20, 2), targets=(0, 0), most_starts=9)
    assert shares == [(10, 2)] * 3 + [(4, 2)]  # 6 and 6 of 40 passes, then 20, then the 8 that are left
    assert made.forward_passes == 2 * 20
    assert made.verified.is_(Outcome.FOOLING).all()


def test_further_starts_end_at_their_number_and_before_a_share_that_is_worth_nothing():
    made = run(constant([1.0, 0.75]), Budget(40, 2), targets=(0,), most_starts=5)
    assert made.forward_passes == 5
    assert run(constant([1.0, 0.75]), Budget(40, 2), targets=(0,)).forward_passes == 2
    made = run(constant([1.0, 0.75], passes=13), Budget(40, 2), targets=(0,), most_starts=9)
    assert made.forward_passes == 3 * 13  # the last pass is less than a tenth of a share of 20


def test_each_restart_gets_its_own_starts_for_the_targets_that_still_stand():
    starts = torch.zeros(2, 3, 1, 1, 2)
    starts[:, :, 0, 0, 0] = torch.tensor([[1.0, 0.1, 0.0], [0.3, 0.4, 0.5]])
    given = []

    def attack(classifier, targets, *, start, **_):
        given.append(start[:, 0, 0, 0].tolist())
        return start

    generate(
        attack,
        Sum(),
        SPEC,
        torch.zeros(3).long(),
        threat=ThreatModel(0.9, 2),
        budget=TWO_STARTS,
        judge=Second(),
        seed=3,
        starts=starts,
    )
    assert given == [pytest.approx([1.0, 0.1, 0.0]), pytest.approx([0.4, 0.5])]


def test_an_attack_that_trains_the_network_is_refused_and_undone():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    before = network[1].weight.detach().clone()

    def trains(meter, targets, *, threat, budget, generator, start):
        with torch.no_grad():
            meter.network[1].weight += 1
        return torch.zeros(len(targets), 1, 4, 4)

    spec, threat = ImageSpec((1, 4, 4), 256, ("0", "1")), ThreatModel(0.9, 4)
    with pytest.raises(BadInputError, match="attack trains: it changed the weights"):
        generate(trains, network, spec, torch.tensor([0]), threat=threat, budget=Budget(5), judge=None, seed=0)
    assert torch.equal(network[1].weight, before)


@pytest.mark.parametrize(
    ("given", "told"),
    [(None, "NoneType"), (torch.zeros(1, 4), r"\(1, 4\)"), ([0], "list")],
    ids=["none", "flat", "list"],
)
def test_what_is_no_images_is_named(given, told):
    def forgets(meter, targets, *, threat, budget, generator, start):
        return given

    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    spec, threat = ImageSpec((1, 4, 4), 256, ("0", "1")), ThreatModel(0.9, 4)
    with pytest.raises(BadInputError, match=f"attack forgets: it gave {told}; expected images"):
        generate(forgets, network, spec, torch.tensor([0]), threat=threat, budget=Budget(5), judge=None, seed=0)


def test_no_targets_cost_nothing():
    made = run(constant([1.0, 0.0]), targets=())
    assert (len(made.verified.targets), made.forward_passes) == (0, 0)


def test_targets_are_balanced_and_at_least_as_many_as_asked():
    assert torch.bincount(balanced_targets(3, 10)).tolist() == [4, 4, 4]


def test_the_operating_point_is_what_95_percent_of_right_images_reach():
    strength = torch.linspace(0.1, 1, 100)
    images = torch.stack([strength, torch.zeros(100)], 1).view(100, 1, 1, 2)
    reach = Sum()(images).softmax(1)[:, 0]
    a, b = operating_point(Sum(), Split(images, torch.zeros(100).long()), 2, nominal=1.0)
    assert (reach >= a).double().mean() == 0.95
    assert a == b  # a class without images takes the overall point
    assert operating_point(Sum(), Split(images, torch.zeros(100).long()), 2, nominal=0.6) == (0.6, 0.6)


def test_a_class_the_network_is_less_sure_of_has_a_lower_point():
    sure = torch.tensor([1.0, 0.0]).repeat(200, 1)
    faint = torch.tensor([0.0, 0.2]).repeat(10, 1)
    real = Split(torch.cat([sure, faint]).view(-1, 1, 1, 2), torch.tensor([0] * 200 + [1] * 10))
    a, b = operating_point(Sum(), real, 2, nominal=0.9)
    assert a == 0.9
    assert b == pytest.approx(torch.tensor([0, 1.8]).softmax(0)[1].item())


def test_a_class_that_is_surer_than_the_rest_has_the_overall_point():
    sure = torch.tensor([1.0, 0.0]).repeat(30, 1)
    faint = torch.tensor([0.0, 0.2]).repeat(200, 1)
    real = Split(torch.cat([sure, faint]).view(-1, 1, 1, 2), torch.tensor([0] * 30 + [1] * 200))
    a, b = operating_point(Sum(), real, 2, nominal=0.9)
    assert a == b < 0.9


def test_a_network_that_is_never_right_is_never_sure():
    real = Split(torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([1]))
    assert operating_point(Sum(), real, 2, nominal=0.9) == (0.0, 0.0)
