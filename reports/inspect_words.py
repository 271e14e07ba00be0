"""What people's marks mean, in plain words."""

from __future__ import annotations

from bench.record import HumanRecord, Share
from reports.words import count, percent

TOLERATED = 0.2  # rate of dispute up to which people and judge are said to agree: ours, set before anybody looked


def people_sentence(human: HumanRecord) -> str:
    """Whether people agree with the judge on generated images; where the sample is too small, that."""
    missed, overruled = human.pooled.missed, human.pooled.overruled
    if max(missed.lower, overruled.lower) > TOLERATED:
        answer = "People do not agree with the judge."
    elif max(missed.upper, overruled.upper) <= TOLERATED:
        answer = "People agree with the judge."
    else:
        answer = "Too few images to say whether people agree with the judge: make a page with more --images."
    return (
        f"{answer} Of {count(missed.n)} generated images that people call not real, it lets {_part(missed)} pass; of "
        f"{count(overruled.n)} that it rejects, people take {_part(overruled)} for real. To agree, both must be "
        f"at most {100 * TOLERATED:g}% by the interval."
    )


def _part(share: Share) -> str:
    return f"{count(share.successes)} ({percent(share.lower)} to {percent(share.upper)})"
