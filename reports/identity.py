"""What names a certificate: a hash of all it says, apart from what people said of its images later."""

from __future__ import annotations

import hashlib
import json

from bench.record import Certificate


def identity(certificate: Certificate) -> str:
    """SHA-256, in hex, of the certificate's canonical JSON (sorted keys, no blanks) without `human`.

    Fields at their default are left out, so that a certificate keeps its name when the schema gains an
    optional field.
    """
    content = certificate.model_dump(mode="json", exclude={"human"}, exclude_defaults=True)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
