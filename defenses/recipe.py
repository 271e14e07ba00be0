"""`fakeclass` with one part left out, each a defense of its own: what that part was worth.

for part in whole no_gate no_pool no_warps gradient_alone; do pytest suites/ --defense=defenses.recipe:$part; done
python -m reports recipe runs > defenses/RECIPE.md
"""

from __future__ import annotations

from attacks.l1_sparse import l1_sparse
from defenses.fakeclass import Recipe, fakeclass, made

whole = fakeclass
no_gate = made(Recipe(gate=False))
no_pool = made(Recipe(pool=False))
no_warps = made(Recipe(varied=False))
gradient_alone = made(Recipe(attacks={"l1_sparse": l1_sparse}))
