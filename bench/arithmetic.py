"""Plain float32, whatever a user's code has switched on: proofs and verdicts are about that, and attacks run in it."""

from __future__ import annotations

import torch

PRECISE = (
    torch.backends,
    torch.backends.mkldnn,
    torch.backends.mkldnn.conv,
    torch.backends.mkldnn.matmul,
    torch.backends.mkldnn.rnn,
    torch.backends.cuda.matmul,
    torch.backends.cudnn,
    torch.backends.cudnn.conv,
    torch.backends.cudnn.rnn,
)


def plain_float32() -> None:
    """Make the next passes IEEE float32: no TF32 or bfloat16 inside, no autocast, no Winograd sums, nothing flushed.

    Convolutions may run on a library that sums in another order, which the proof allows for. Process-wide, and cheap
    enough to call before every pass: a network may switch what it likes while it is imported, built or run.
    """
    for backend in PRECISE:
        if backend.fp32_precision != "ieee":
            backend.fp32_precision = "ieee"
    torch.backends.nnpack.set_flags(False)
    torch.set_flush_denormal(False)
    for device in ("cpu", "cuda"):
        torch.set_autocast_enabled(device, False)
