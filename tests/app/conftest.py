"""What the tests of the page share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from partreid.app.service import PageService
from partreid.inference.extractor import PartExtractor
from partreid.retrieval.gallery import Gallery
from tests.app.people import ColorRunner, fill


@pytest.fixture
def extractor() -> PartExtractor:
    return PartExtractor.from_runner(ColorRunner())


@pytest.fixture
def gallery(extractor: PartExtractor, tmp_path: Path) -> Iterator[Gallery]:
    with Gallery(extractor=extractor) as gallery:
        fill(gallery, extractor, tmp_path)
        yield gallery


@pytest.fixture
def service(gallery: Gallery, extractor: PartExtractor) -> PageService:
    return PageService(gallery, extractor)
