"""The page on which a person looks at images without knowing which are real, and its key.

The page holds pixels and salted hashes in the order of the hashes; what an image is stands in the key alone.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from bench.files import write_whole
from bench.record import Certificate, InspectionError
from reports import machine, pages
from reports.build import CERTIFICATE_NAME
from reports.entry import read_checked
from reports.identity import identity
from reports.inspect_files import MAX_IMAGES, Key, KeyItem, page_id, read_key

if TYPE_CHECKING:
    from bench.inspection import Shown

SCRIPTS = ("inspect.js",)


def make_page(path: Path, out: Path, images: int, seed: int, data_root: Path) -> tuple[int, Path]:
    """Write the page of a run's certificate to `out`, and its key beside the certificate -> (images, key).

    Raises:
        CertificateError: the certificate can't be read.
        InspectionError: there is nothing to look at, or another page's key is in the way.
    """
    from bench.inspection import LEAST, collect  # torch is for those who make pages, not for those who read them

    if not LEAST <= images <= MAX_IMAGES:
        raise InspectionError(f"--images {images}; expected {LEAST} to {MAX_IMAGES}")
    path = path / CERTIFICATE_NAME if path.is_dir() else path
    certificate = read_checked(path)
    name = identity(certificate)
    shown = _named(collect(certificate, path.parent, images, seed, data_root), f"{name}/{seed}")
    items = {item: _known(image) for item, image in shown.items()}
    key = Key(certificate=name, page=page_id(name, items), items=items)
    key_path = path.parent / f"{out.stem}.key.json"
    _keep_others(key_path, key)
    page = _rendered(certificate, key, {item: image.png for item, image in shown.items()})
    write_whole(key_path, (json.dumps(key.model_dump(mode="json"), indent=1, allow_nan=False) + "\n").encode())
    write_whole(out, page.encode())
    return len(shown), key_path


def _named(images: Iterable[Shown], salt: str) -> dict[str, Shown]:
    """Images by an id that holds nothing but their pixels and the salt, in the order of the ids."""
    named: dict[str, Shown] = {}
    for image in images:
        content, again = f"{salt}/{hashlib.sha256(image.png).hexdigest()}", 0
        while (item := hashlib.sha256(f"{content}/{again}".encode()).hexdigest()) in named:
            again += 1  # the same pixels twice
        named[item] = image
    return dict(sorted(named.items()))


def _known(image: Shown) -> KeyItem:
    return KeyItem(**{name: value for name, value in vars(image).items() if name != "png"})


def _keep_others(path: Path, key: Key) -> None:
    """Without its key a page's marks are worthless: another page's is not written over."""
    if path.exists() and read_key(path).page != key.page:
        raise InspectionError(
            f"{path}: the key of another page, whose marks need it; expected none: give --out another name"
        )


def _rendered(certificate: Certificate, key: Key, pngs: dict[str, bytes]) -> str:
    images = [{"item": item, "png": base64.b64encode(png).decode("ascii")} for item, png in pngs.items()]
    classes = list(certificate.class_names)
    data = {"certificate": key.certificate, "page": key.page, "classes": classes, "images": images}
    noun = "digit" if all(name.isascii() and name.isdigit() for name in classes) else "image of one of these classes"
    return (
        pages.environment()
        .get_template("inspect.html")
        .render(
            classes=classes,
            noun=noun,
            total=len(images),
            page=key.page,
            data=Markup(machine.inert_json(data)),
            **pages.script(SCRIPTS),
        )
    )
