"""What a defense is given."""

from __future__ import annotations

from harness.runs import settings

from bench.harness.session import Session
from bench.task import Round, defense


@defense()
def untrained_and_always_right(task, recorder):
    network = task.new_network(task.spec.real_classes, 1)
    for split in (task.train, task.validation):
        split.labels.copy_(network(split.images).argmax(dim=1))
        split.images.mul_(0.5)
    yield Round(0, network)


def test_real_data_that_a_defense_changes_in_place_are_not_what_it_is_measured_on(tmp_path):
    session = Session(settings(tmp_path))
    before = [(part.images.clone(), part.labels.clone()) for part in (session.data.a_train, session.data.a_val)]
    session.defense = untrained_and_always_right
    _ = session.history
    for part, (images, labels) in zip((session.data.a_train, session.data.a_val), before, strict=True):
        assert part.images.equal(images)
        assert part.labels.equal(labels)
