"""Checkpoints on the Hugging Face Hub: download, and upload with a card that describes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from partreid.errors import CheckpointError
from partreid.models.card import COMMAND, front_matter, given, taken, uses
from partreid.models.model_config import ModelConfig
from partreid.preprocessing import PreprocessConfig

_METRICS = ("rank1", "mAP", "mINP", "epoch")


def download(repository: str, files: Sequence[str]) -> Path:
    """A folder with these files of ``"org/name"``, as far as they exist. Errors are CheckpointErrors."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except Exception as error:  # of the Hub's library, and of what it speaks HTTP with
        raise CheckpointError(f"it could not be had from the Hugging Face Hub: {error}") from None


def upload(folder: Path, repository: str, *, private: bool | None, token: str | None, message: str) -> str:
    """Publish a folder as the model ``"org/name"``, which is created if necessary. Returns its address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    try:
        repository = api.create_repo(repository, private=private, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message).repo_url)
    except Exception as error:  # of the Hub's library, and of what it speaks HTTP with
        raise CheckpointError(
            f"{repository!r:.80} could not be published on the Hugging Face Hub: {str(error).rstrip('.')}. "
            "Give org/name, and a token that may write: `hf auth login`, or token=..."
        ) from None


def model_card(
    repository: str,
    model: ModelConfig,
    preprocess: PreprocessConfig,
    metrics: Mapping[str, Any],
    *,
    mirror: bool = False,
    license: str | None = None,
) -> str:
    """The text of a repository's ``README.md``: the use, the settings and the known scores of the model.

    It is the short form of the dossier (:func:`partreid.reports.gather_dossier`).
    """
    known = [f"* {name}: {metrics[name]}" for name in _METRICS if isinstance(metrics.get(name), int | float)]
    options = ", mirror=True" if mirror else ""
    settings = json.dumps(model.model_dump(mode="json", exclude_defaults=True), indent=2)
    return f"""{front_matter(model, license)}
# {repository}

Part-based person re-identification.

{uses()}

```python
from partreid import PartExtractor, part_distances

extractor = PartExtractor.from_pretrained("hf:{repository}"{options})
embeddings = extractor.embed(["a.jpg", "b.jpg"])
distances = part_distances(embeddings, embeddings)
```

* {taken(preprocess)}
* {given(model.embedding_dim, model.slots)}

Settings other than the defaults:

```json
{settings}
```

{"Scores that were written beside it:" if known else "No scores were written beside it."}

{chr(10).join(known)}

By occlusion, part, light, resolution and kinds of people: `{COMMAND} hf:{repository} --data DATA`.
""".rstrip() + "\n"  # fmt: skip
