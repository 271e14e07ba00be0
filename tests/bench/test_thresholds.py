import pytest

from bench.errors import BadInputError
from bench.thresholds import load_thresholds


def write(tmp_path, text):
    path = tmp_path / "own.toml"
    path.write_text(text)
    return path


def test_the_project_file_is_complete_and_picks_by_data_set():
    mnist, folder = load_thresholds("mnist"), load_thresholds("folder:/some/where")
    assert sorted(mnist.rates) == list(range(9))
    assert (mnist.real.accuracy, mnist.real.confident_accuracy) == (0.97, 0.93)
    assert folder.real.accuracy == 0.80


def test_an_override_replaces_only_what_it_names(tmp_path):
    own = load_thresholds("digits", write(tmp_path, "[rates]\n3 = 0.5\n[real.digits]\naccuracy = 0.99\n"))
    project = load_thresholds("digits")
    assert own.rates == project.rates | {3: 0.5}
    assert own.real.accuracy == 0.99
    assert own.real.confident_accuracy == project.real.confident_accuracy
    assert own.looser_than(project) == [3]
    assert project.looser_than(own) == [9, 10]


def test_a_higher_allowance_for_criterion_8_is_looser(tmp_path):
    own = load_thresholds("digits", write(tmp_path, "[rates]\n8 = 0.05\n"))
    assert own.looser_than(load_thresholds("digits")) == [8]


@pytest.mark.parametrize(
    "text",
    [
        "[real.digit]\naccuracy = 0.1\n",
        "[rates]\n3 = 1.5\n",
        "[rates]\n12 = 0.5\n",
        "[rate]\n3 = 0.5\n",
        "rates = 3",
        "[rates",
        "[rates]\n3 = nan\n",
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text):
    with pytest.raises(BadInputError, match=r"own\.toml"):
        load_thresholds("digits", write(tmp_path, text))


def test_a_section_that_nothing_reads_is_refused_with_the_one_that_was_meant(tmp_path):
    with pytest.raises(BadInputError, match=r"did you mean \[real\.digits\]\?"):
        load_thresholds("digits", write(tmp_path, "[real.digit]\naccuracy = 0.1\n"))
    own = write(tmp_path, "[real.folder]\naccuracy = 0.1\n[real.mnist]\naccuracy = 0.2\n")
    assert load_thresholds("folder:photos", own).real.accuracy == 0.1


def test_a_criterion_that_has_no_rate_is_told_from_a_rate_that_is_none(tmp_path):
    with pytest.raises(BadInputError, match=r"\[rates\] has 11; expected criteria 0 to 8"):
        load_thresholds("digits", write(tmp_path, "[rates]\n11 = 0.5\n"))
    with pytest.raises(BadInputError, match=r"for 9 and 10 \[real\.folder\]$"):
        load_thresholds("folder:photos", write(tmp_path, "[rates]\n11 = 0.5\n"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="No such file"):
        load_thresholds("digits", tmp_path / "none.toml")
