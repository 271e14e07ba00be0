"""Attacks of Foolbox, ART and torchattacks under our threat model: `pip install -e '.[peers]'`.

    pytest suites/ --attack foolbox:EADAttack --attack 'torchattacks:PGDL2(eps=5, steps=50)'

They attack the two-logit network of `attacks.peers.reduction` from the blank image, or from `start`, towards the
wanted class, or, where they can't be told one, away from the other. Arguments are the library's own, as literals;
one that sets the length of the run, `steps` or the like, comes from the budget where it is not given, the size of the
ball from k; all others keep the library's defaults. README.md says which attacks work here and which do not, and why.

What comes back, [N, C, H, W] on the value grid, is the library's own image where the attack finished and its image
is confident and sparse, else the sparsest confident one among all that the network was shown, else the likeliest of
at most k pixels. An attack that would exceed its passes is stopped. Pixels are not pruned.

Good to know: without randomness of its own, and from blank, an attack makes the same image for every target of a
class. Steps finer than the value grid show an attack nothing (finite differences).
"""

from __future__ import annotations

from attacks.peers.adapter import Library, Peer, quiet, words
from attacks.peers.asked import check, pick, read
from attacks.peers.libraries import Art, Foolbox, Torchattacks
from attacks.peers.reduction import stand_in
from bench.errors import BadInputError
from bench.types import Attack


def foolbox(text: str) -> Attack:
    """An attack of Foolbox, https://github.com/bethgelab/foolbox.

    Args:
        text: its name, with arguments if wanted: "EADAttack", "L0FMNAttack(steps=200)",
            "SparseL1DescentAttack(epsilon=20)".

    Raises:
        BadInputError: Foolbox is missing, or has no such attack, or the attack no such argument, or it can't be
            built; later, where it does not run on the images at hand.
    """
    return peer("foolbox", Foolbox(), text)


def art(text: str) -> Attack:
    """An attack of the Adversarial Robustness Toolbox, https://github.com/Trusted-AI/adversarial-robustness-toolbox.

    As `foolbox`, of what lies in `art.attacks.evasion`: "ElasticNet", "SaliencyMapMethod(theta=0.5)".
    """
    return peer("art", Art(), text)


def torchattacks(text: str) -> Attack:
    """An attack of torchattacks, https://github.com/Harry24k/adversarial-attacks-pytorch.

    As `foolbox`: "JSMA", "PGDL2(eps=5)".
    """
    return peer("torchattacks", Torchattacks(), text)


def peer(prefix: str, library: Library, text: str) -> Peer:
    """The attack that `text` asks a library for, tried out as far as building it.

    Raises:
        BadInputError: as for `foolbox`.
    """
    asked = read(prefix, text)
    with quiet(library.package):
        try:
            made = pick(asked, library.classes())
            check(asked, library.accepted(made))
            library.build(asked, made, stand_in(), 1, 0)
        except BadInputError:
            raise
        except ImportError as error:
            missing = getattr(error, "name", None) or library.package
            raise asked.refuse(f"{words(error)}; expected {missing}: pip install -e '.[peers]'") from None
        except Exception as error:
            raise asked.refuse(f"it can't be built: {words(error)}; expected arguments it works with") from error
    return Peer(library, asked, made)
