"""Published ReID transformers in timm models, on files of the published names and shapes that the tests make.

What needs timm is skipped without it; docs/models.md says how to run it.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.errors import CheckpointError, ConfigError
from partreid.models.backbones import Backbone, build_backbone
from partreid.models.backbones.published_transformers import TimmModel, timm_names
from partreid.models.backbones.timm_seam import TimmName
from partreid.models.backbones.weights import read_state_dict
from partreid.training.train_config import TrainConfig
from tests.models.backbone_contract import check_backbone
from tests.models.published_keys import (
    Shapes,
    behind,
    clip_reid,
    clip_visual,
    filled,
    linear,
    pass_vit,
    solider_swin,
    timm_swin,
    transreid,
    vit,
)
from tests.models.published_references import State, reference_swin, reference_vit
from tests.models.test_timm import needs_timm

SMALL, DEPTH = 8, 2
QUICK = "vit_base_patch16_clip_quickgelu_224"


def model(shapes: Shapes, **facts: Any) -> TimmModel:
    sizes = {key: torch.Size(shape) for key, shape in shapes.items()}
    return TimmModel(**{"name": "vit", "form": "", "shapes": sizes, "grid": (16, 8), **facts})  # type: ignore[arg-type]


def names(state: State, prefix: str, target: TimmModel) -> State:
    """timm's names of what lies below the prefix."""
    translated = timm_names(state, target, source="w.pth")
    return {key.removeprefix(prefix): value for key, value in translated.items() if key.startswith(prefix)}


def shapes_of(state: State) -> Shapes:
    return {key: tuple(value.shape) for key, value in state.items()}


def clip_timm() -> Shapes:
    shapes = vit(SMALL, 129, DEPTH) | {"norm_pre.weight": (SMALL,), "norm_pre.bias": (SMALL,)}
    del shapes["patch_embed.proj.bias"]
    return shapes


def pass_timm(width: int = SMALL, depth: int = DEPTH) -> Shapes:
    return vit(width, 128, depth) | {"reg_token": (1, 3, width)}


SWIN = (4, (1, 1, 1, 1), 1)


@pytest.mark.filterwarnings("ignore:.*(SIE|semantic weight)")
@pytest.mark.parametrize(("published", "prefix", "expected", "facts"), [
    (transreid(SMALL, 129, DEPTH), "base.", vit(SMALL, 129, DEPTH), {}),
    (transreid(SMALL, 129, DEPTH, jpm=True, cameras=6), "base.", vit(SMALL, 129, DEPTH), {}),
    (behind("backbone.", vit(SMALL, 129, DEPTH) | {"masked_embed": (1, SMALL)}), "backbone.", vit(SMALL, 129, DEPTH),
     {}),
    (pass_vit(SMALL, 128, DEPTH), "", pass_timm(), {"form": "pass", "prefix_positions": 0}),
    (behind("base.", pass_vit(SMALL, 128, DEPTH)), "base.", pass_timm(), {"form": "pass", "prefix_positions": 0}),
    (clip_reid(SMALL, 129, DEPTH, cameras=6), "image_encoder.", clip_timm(), {"activation": "QuickGELU"}),
    (clip_visual(SMALL, 129, DEPTH), "", clip_timm(), {"activation": "QuickGELU"}),
    (behind("base.", solider_swin(*SWIN)), "base.", timm_swin(*SWIN), {"form": "solider", "grid": None}),
    (solider_swin(*SWIN, controller=False), "", timm_swin(*SWIN), {"form": "solider", "grid": None}),
])  # fmt: skip
def test_every_published_name_has_timms(published: Shapes, prefix: str, expected: Shapes, facts: Any) -> None:
    assert shapes_of(names(filled(published), prefix, model(expected, **facts))) == expected


def test_a_key_that_no_list_has_keeps_its_name() -> None:
    for published, prefix, facts in (
        (transreid(SMALL, 129, DEPTH), "base.", {}),
        (clip_visual(SMALL, 129, DEPTH), "", {"activation": "QuickGELU"}),
        (solider_swin(*SWIN, controller=False), "", {"form": "solider"}),
        (pass_vit(SMALL, 128, DEPTH), "", {"form": "pass", "prefix_positions": 0}),
    ):
        state = filled(published) | {f"{prefix}surprise.weight": torch.zeros(1)}
        assert f"{prefix}surprise.weight" in timm_names(state, model(pass_timm(), **facts), source="w")
    ours = {f"backbone.network.{key}": value for key, value in filled(vit(SMALL, 193, DEPTH)).items()}
    assert shapes_of(timm_names(ours, model(vit(SMALL, 193, DEPTH)), source="w")) == shapes_of(ours)


def test_the_branch_that_was_trained_is_taken() -> None:
    """With JPM the base's own last block and norm get no gradient in TransReID's training."""
    state = filled(transreid(SMALL, 129, DEPTH, jpm=True))
    taken = names(state, "base.", model(vit(SMALL, 129, DEPTH)))
    assert torch.equal(taken["blocks.1.attn.qkv.weight"], state["b1.0.attn.qkv.weight"])
    assert torch.equal(taken["norm.bias"], state["b1.1.bias"])
    assert torch.equal(taken["blocks.0.attn.qkv.weight"], state["base.blocks.0.attn.qkv.weight"])


REFUSED: list[tuple[Shapes, dict[str, Any], str]] = [
    (pass_vit(SMALL, 128, DEPTH), {}, r"three part tokens.*model\.backbone=timm/vit:pass@256x128\."),
    (clip_visual(SMALL, 129, DEPTH), {"activation": "GELU"}, f"QuickGELU; timm/vit computes GELU.*timm/{QUICK}@256"),
    (solider_swin(*SWIN), {"name": "swin_t"}, r"pads before it shifts.*model\.backbone=timm/swin_t:solider\."),
    (
        transreid(SMALL, 211, DEPTH),
        {},
        "overlapping patches: 210 position embeddings are those of 256x128 at stride 12",
    ),
    (transreid(SMALL, 311, DEPTH), {}, "310 position embeddings are those of 384x128 at stride 12"),
    (clip_reid(SMALL, 211, DEPTH), {"activation": "QuickGELU"}, "overlapping patches: 210"),
    (transreid(SMALL, 151, DEPTH), {}, r"150 position embeddings, and vit 16x8.*=timm/vit@HEIGHTxWIDTH\."),
    (vit(SMALL, 129, DEPTH) | {"patch_embed.conv.0.weight": (64, 3, 7, 7)}, {}, "stem of convolutions"),
]


@pytest.mark.parametrize(("published", "facts", "message"), REFUSED)
def test_what_timm_computes_otherwise_is_refused(published: Shapes, facts: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        timm_names(filled(published), model(vit(SMALL, 129, DEPTH), **facts), source="w.pth")


def test_what_makes_other_features_is_said() -> None:
    for published, facts, key in (
        (transreid(SMALL, 129, DEPTH, cameras=6), {}, r"base\.sie_embed"),
        (clip_reid(SMALL, 129, DEPTH, cameras=6), {"activation": "QuickGELU"}, "cv_embed"),
    ):
        with pytest.warns(
            UserWarning, match=f"w: {key}, an embedding for each camera or view.*not those of the published"
        ):
            timm_names(filled(published), model(vit(SMALL, 129, DEPTH), **facts), source="w")
    swin = model(timm_swin(*SWIN), form="solider", grid=None)
    with pytest.warns(UserWarning, match=r"semantic weight is fixed at 0\.2"):
        timm_names(filled(solider_swin(*SWIN)), swin, source="w")


def test_a_controller_that_cannot_be_folded_is_refused() -> None:
    swin, state = model(timm_swin(*SWIN), form="solider", grid=None), filled(solider_swin(*SWIN))
    for key, value, message in (
        ("stages.0.downsample.reduction.weight", torch.ones(8, 16), r"stage 0: the semantic controller cannot be fold"),
        ("semantic_embed_b.1.bias", torch.full((16,), torch.nan), r"expected finite floating-point numbers in semant"),
        ("semantic_embed_b.1.bias", torch.zeros(16, dtype=torch.int8), "expected finite floating-point numbers"),
        ("semantic_embed_b.1.bias", torch.zeros(16, device="meta"), "cannot be used"),
    ):
        with pytest.raises(CheckpointError, match=message):
            timm_names({**state, key: value}, swin, source="w")
    del state["semantic_embed_w.2.bias"]  # and what is not whole keeps its names
    assert "semantic_embed_w.0.weight" in timm_names(state, swin, source="w")


def test_of_a_self_supervised_training_the_teacher_is_read(tmp_path: Path) -> None:
    """As DINO's and iBOT's programs write it, options and optimiser among it."""
    teacher = filled(behind("backbone.", vit(SMALL, 129, DEPTH)) | linear("head.mlp.0", 4, SMALL))
    content = {
        "student": {f"module.{key}": value + 1 for key, value in teacher.items()},
        "teacher": teacher, "epoch": 3, "args": argparse.Namespace(arch="vit_small", lr=0.1),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}, 1: {"exp_avg": torch.zeros(2)}}},
        "dino_loss": {"center": torch.zeros(1, 4)},
    }  # fmt: skip
    torch.save(content, tmp_path / "checkpoint.pth")
    with pytest.warns(UserWarning, match=r"is 'teacher'; not used: 'student', 'optimizer', 'dino_loss'\."):
        state = read_state_dict(tmp_path / "checkpoint.pth")
    assert torch.equal(state["backbone.norm.bias"], teacher["backbone.norm.bias"])


def test_names_of_timm_models() -> None:
    assert TimmName.read("timm/a.b_c") == TimmName("a.b_c")
    assert TimmName.read("timm/a:pass@256x128") == TimmName("a", "pass", (256, 128))
    for wrong in ("timm/a:what", "timm/a@256", "timm/a@256x0", "timm/a@256x128:pass", "timm/a:", "timm/a@99999x1"):
        with pytest.raises(ConfigError, match="Expected timm/MODEL, and behind it :pass or :solider and @HEIGHTxWIDTH"):
            TimmName.read(wrong)


# With timm: the same features as a second implementation.


def loaded(name: str, state: Any, folder: Path) -> Backbone:
    torch.save(state, folder / "w.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build_backbone(f"timm/{name}", weights=folder / "w.pth").eval()


def same(features: Tensor, expected: Tensor) -> bool:
    """Equal up to float32's rounding: the features have a size of about 1."""
    assert 0.1 < expected.abs().mean() < 10
    return bool((features - expected).abs().max() < 1e-4)


@needs_timm
@torch.inference_mode()
@pytest.mark.parametrize(("jpm", "size"), [(False, (256, 128)), (True, (256, 128)), (False, (384, 128))])
def test_transreid_and_personvit(jpm: bool, size: tuple[int, int], tmp_path: Path) -> None:
    state = filled(transreid(384, size[0] // 2 + 1, jpm=jpm))
    backbone, images = loaded(f"vit_small_patch16_224@{size[0]}x{size[1]}", state, tmp_path), torch.randn(1, 3, *size)
    own = {key.removeprefix("base."): value for key, value in state.items() if key.startswith("base.")}
    if jpm:
        own |= {key.replace("b1.0", "blocks.11"): value for key, value in state.items() if key.startswith("b1.0")}
        own |= {"norm.weight": state["b1.1.weight"], "norm.bias": state["b1.1.bias"]}
    first = [own["cls_token"] + own["pos_embed"][:, :1]]
    expected = reference_vit(own, images, heads=6, prefix=first, positions=own["pos_embed"][:, 1:])
    assert same(backbone(images), expected)


@needs_timm
@torch.inference_mode()
def test_pass(tmp_path: Path) -> None:
    state = filled(pass_vit(384, 128))
    backbone, images = loaded("vit_small_patch16_224:pass@256x128", state, tmp_path), torch.randn(1, 3, 256, 128)
    tokens = [("cls_token", "cls_pos")] + [(f"part_token{i}", f"part{i}_pos") for i in (1, 2, 3)]
    prefix = [state[token] + state[position] for token, position in tokens]
    assert same(backbone(images), reference_vit(state, images, heads=6, prefix=prefix, positions=state["pos_embed"]))


@needs_timm
@torch.inference_mode()
def test_clip_reid(tmp_path: Path) -> None:
    state = filled(clip_reid(768, 129))
    backbone, images = loaded(f"{QUICK}@256x128", state, tmp_path), torch.randn(1, 3, 256, 128)
    own = {key.removeprefix("image_encoder."): value for key, value in state.items()}
    for published, name in (("conv1", "patch_embed.proj"), ("ln_pre", "norm_pre"), ("ln_post", "norm"),
                            ("transformer.resblocks", "blocks"), ("ln_", "norm"), ("in_proj_", "qkv."),
                            ("out_proj", "proj"), ("c_fc", "fc1"), ("c_proj", "fc2")):  # fmt: skip
        own = {key.replace(published, name): value for key, value in own.items()}
    prefix = [(own["class_embedding"] + own["positional_embedding"][0])[None, None]]
    expected = reference_vit(own, images, heads=12, prefix=prefix, positions=own["positional_embedding"][1:], eps=1e-5,
                             gelu=lambda x: x * torch.sigmoid(1.702 * x))  # fmt: skip
    assert same(backbone(images), expected)


@needs_timm
@torch.inference_mode()
@pytest.mark.parametrize("size", [(224, 224), (128, 64), (192, 128)])
def test_solider(size: tuple[int, int], tmp_path: Path) -> None:
    """Sizes of which some maps are multiples of the window of 7 and others are not."""
    state = filled(behind("base.", solider_swin(96, (2, 2, 6, 2), 3)))
    backbone, images = loaded("swin_tiny_patch4_window7_224:solider", state, tmp_path), torch.randn(1, 3, *size)
    own = {key.removeprefix("base."): value for key, value in state.items()}
    expected = reference_swin(own, images, depths=(2, 2, 6, 2), heads=3)
    assert same(backbone(images), expected)
    assert torch.equal(copy.deepcopy(backbone)(images), backbone(images))


FILES: dict[str, tuple[str, Callable[[], Shapes]]] = {
    "TransReID, ViT-B": ("vit_base_patch16_224@256x128", lambda: transreid(768, 129, jpm=True, cameras=6)),
    "PersonViT, ViT-S": ("vit_small_patch16_224@256x128", lambda: transreid(384, 129)),
    "PersonViT, ViT-B": ("vit_base_patch16_224@384x128", lambda: transreid(768, 193)),
    "PASS, ViT-S": ("vit_small_patch16_224:pass@256x128", lambda: behind("base.", pass_vit(384, 128))),
    "PASS, ViT-B": ("vit_base_patch16_224:pass@384x128", lambda: pass_vit(768, 192)),
    "CLIP-ReID, ViT-B": (f"{QUICK}@256x128", lambda: clip_reid(768, 129, cameras=6)),
    "SOLIDER, Swin-T": ("swin_tiny_patch4_window7_224:solider", lambda: solider_swin(96, (2, 2, 6, 2), 3)),
    "SOLIDER, Swin-S": ("swin_small_patch4_window7_224:solider", lambda: solider_swin(96, (2, 2, 18, 2), 3)),
    "SOLIDER, Swin-B": ("swin_base_patch4_window7_224:solider", lambda: solider_swin(128, (2, 2, 18, 2), 4)),
}


@needs_timm
@pytest.mark.parametrize("family", FILES)
def test_each_published_size_loads(family: str, tmp_path: Path) -> None:
    name, shapes = FILES[family]
    backbone = loaded(name, filled(shapes()), tmp_path)
    size = (256, 128) if "swin" in name else TimmName.read(f"timm/{name}").size
    assert size is not None
    with torch.inference_mode():
        features = backbone(torch.randn(1, 3, *size))
    assert features.shape[2:] == (size[0] // backbone.output_stride, size[1] // backbone.output_stride)
    assert features.isfinite().all()


@needs_timm
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224:pass@256x128", "swin_tiny_patch4_window7_224:solider"])
def test_every_form_is_a_backbone_like_others(name: str, tmp_path: Path) -> None:
    train = TrainConfig().override([f"model.backbone=timm/{name}", "preprocess.height=128"])
    assert train.model.backbone == f"timm/{name}"
    check_backbone(lambda weights: build_backbone(f"timm/{name}", weights=weights), tmp_path)


@needs_timm
def test_another_grid_is_resampled_as_timm_does_and_said(tmp_path: Path) -> None:
    state = filled(vit(384, 129))
    torch.save(state, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=r"16x8, were resampled to 14x14.*timm/vit_small_patch16_224@256x128 takes"):
        backbone = build_backbone("timm/vit_small_patch16_224", weights=tmp_path / "w.pth")
    positions = backbone.state_dict()["network.pos_embed"]
    grid = state["pos_embed"][:, 1:].reshape(1, 16, 8, 384).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (14, 14), mode="bicubic", antialias=True).flatten(2).transpose(1, 2)
    assert torch.allclose(positions[:, 1:], expected, atol=1e-5)
    assert torch.equal(positions[:, :1], state["pos_embed"][:, :1])


@needs_timm
@pytest.mark.parametrize(("name", "message"), [
    ("resnet18:pass", "resnet18 has no form :pass"), ("resnet18@256x128", "resnet18 has no"),
    ("resnet18:solider", "resnet18 has no"), ("vit_small_patch16_224:solider", "has no form|no Swin blocks"),
    ("swin_tiny_patch4_window7_224@256x128", "is for ViTs"), ("vit_small_patch16_224@250x128", "multiple of the patch"),
])  # fmt: skip
def test_a_form_that_a_model_cannot_have_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_backbone(f"timm/{name}")


@needs_timm
def test_a_foreign_key_is_named(tmp_path: Path) -> None:
    state = filled(transreid(384, 129)) | {"base.surprise": torch.zeros(1)}
    del state["base.norm.bias"]
    with pytest.raises(
        CheckpointError, match=r"missing keys \(1\): network\.norm\.bias; foreign keys \(1\): .*surprise"
    ):
        loaded("vit_small_patch16_224@256x128", state, tmp_path)
