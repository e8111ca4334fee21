"""Names and shapes in files of published ReID transformers, written from the model code of their repositories.

TransReID: damo-cv/TransReID, model/make_model.py and model/backbones/vit_pytorch.py. PersonViT: hustvl/PersonViT,
transreid_pytorch/model (the same names). PASS: CASIA-IVA-Lab/PASS-reID, PASS_transreid/model. CLIP-ReID:
Syliz517/CLIP-ReID, model/make_model_clipreid.py and model/clip/model.py. SOLIDER: tinyvision/SOLIDER-REID,
model/make_model.py and model/backbones/swin_transformer.py. timm: its VisionTransformer and SwinTransformer.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def linear(name: str, out: int, of: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, of)} | ({f"{name}.bias": (out,)} if bias else {})


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def behind(prefix: str, shapes: Shapes) -> Shapes:
    return {prefix + key: shape for key, shape in shapes.items()}


def block(width: int) -> Shapes:
    return (
        norm("norm1", width) | linear("attn.qkv", 3 * width, width) | linear("attn.proj", width, width)
        | norm("norm2", width) | linear("mlp.fc1", 4 * width, width) | linear("mlp.fc2", width, 4 * width)
    )  # fmt: skip


def vit(width: int, positions: int, depth: int = 12) -> Shapes:
    """A plain ViT of patches of 16 pixels, by timm's names, which are those of TransReID and PersonViT too."""
    shapes: Shapes = {"cls_token": (1, 1, width), "pos_embed": (1, positions, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,)}
    for i in range(depth):
        shapes |= behind(f"blocks.{i}.", block(width))
    return shapes | norm("norm", width)


def reid_head(width: int, persons: int = 5, branches: tuple[str, ...] = ("",)) -> Shapes:
    shapes: Shapes = {}
    for branch in branches:
        shapes |= {f"classifier{branch}.weight": (persons, width)} | norm(f"bottleneck{branch}", width)
        shapes |= {f"bottleneck{branch}.running_mean": (width,), f"bottleneck{branch}.running_var": (width,)}
        shapes |= {f"bottleneck{branch}.num_batches_tracked": ()}
    return shapes


def transreid(width: int, positions: int, depth: int = 12, *, jpm: bool = False, cameras: int = 0) -> Shapes:
    """A trained TransReID; with jpm and cameras off it is its baseline, and PersonViT fine-tuned."""
    base = vit(width, positions, depth) | linear("fc", 1000, width)
    base |= {"sie_embed": (cameras, 1, width)} if cameras else {}
    shapes = behind("base.", base)
    if jpm:
        for branch in ("b1.", "b2."):
            shapes |= behind(f"{branch}0.", block(width)) | norm(f"{branch}1", width)
    return shapes | reid_head(width, branches=("", "_1", "_2", "_3", "_4") if jpm else ("",))


def pass_vit(width: int, positions: int, depth: int = 12) -> Shapes:
    """PASS, pretrained: the class token's position apart, and three part tokens."""
    shapes = vit(width, positions, depth)
    for token in ("part_token1", "part_token2", "part_token3", "cls_pos", "part1_pos", "part2_pos", "part3_pos"):
        shapes[token] = (1, 1, width)
    return shapes


def clip_visual(width: int, positions: int, depth: int = 12) -> Shapes:
    shapes: Shapes = {"class_embedding": (width,), "positional_embedding": (positions, width), "proj": (width, 512)}
    shapes |= {"conv1.weight": (width, 3, 16, 16)} | norm("ln_pre", width) | norm("ln_post", width)
    for i in range(depth):
        within = {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
        within |= linear("attn.out_proj", width, width) | norm("ln_1", width) | norm("ln_2", width)
        within |= linear("mlp.c_fc", 4 * width, width) | linear("mlp.c_proj", width, 4 * width)
        shapes |= behind(f"transformer.resblocks.{i}.", within)
    return shapes


def clip_reid(width: int, positions: int, depth: int = 12, *, cameras: int = 0) -> Shapes:
    """CLIP-ReID after its second stage; of the text side one tensor of each part."""
    shapes = behind("image_encoder.", clip_visual(width, positions, depth)) | reid_head(width)
    shapes |= reid_head(512, branches=("_proj",)) | {"prompt_learner.cls_ctx": (5, 4, 512)}
    shapes |= {"text_encoder.positional_embedding": (77, 512), "text_encoder.text_projection": (512, 512)}
    shapes |= {"text_encoder.transformer.resblocks.0.attn.in_proj_weight": (1536, 512)}
    return shapes | ({"cv_embed": (cameras, width)} if cameras else {})


def solider_swin(width: int, depths: tuple[int, ...], heads: int, *, controller: bool = True) -> Shapes:
    shapes: Shapes = {"patch_embed.projection.weight": (width, 3, 4, 4), "patch_embed.projection.bias": (width,)}
    shapes |= norm("patch_embed.norm", width)
    for i, depth in enumerate(depths):
        wide = width * 2**i
        for j in range(depth):
            within = norm("norm1", wide) | norm("norm2", wide)
            within |= {"attn.w_msa.relative_position_bias_table": (169, heads * 2**i)}
            within |= {"attn.w_msa.relative_position_index": (49, 49)}
            within |= linear("attn.w_msa.qkv", 3 * wide, wide) | linear("attn.w_msa.proj", wide, wide)
            within |= linear("ffn.layers.0.0", 4 * wide, wide) | linear("ffn.layers.1", wide, 4 * wide)
            shapes |= behind(f"stages.{i}.blocks.{j}.", within)
        if i < 3:
            shapes |= linear(f"stages.{i}.downsample.reduction", 2 * wide, 4 * wide, bias=False)
            shapes |= norm(f"stages.{i}.downsample.norm", 4 * wide)
        shapes |= norm(f"norm{i}", wide)
        for which in "wb" if controller else "":
            shapes |= linear(f"semantic_embed_{which}.{i}", width * 2 ** min(i + 1, 3), 2)
    return shapes


def timm_swin(width: int, depths: tuple[int, ...], heads: int) -> Shapes:
    shapes: Shapes = {"patch_embed.proj.weight": (width, 3, 4, 4), "patch_embed.proj.bias": (width,)}
    shapes |= norm("patch_embed.norm", width) | norm("norm", width * 8)
    for i, depth in enumerate(depths):
        wide = width * 2**i
        for j in range(depth):
            table = {"attn.relative_position_bias_table": (169, heads * 2**i)}
            shapes |= behind(f"layers.{i}.blocks.{j}.", block(wide) | table)
        if i:
            shapes |= linear(f"layers.{i}.downsample.reduction", wide, 2 * wide, bias=False)
            shapes |= norm(f"layers.{i}.downsample.norm", 2 * wide)
    return shapes


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Random weights of such sizes that every part of the network shows in the result."""
    state: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key.endswith(("index", "num_batches_tracked")):
            state[key] = torch.zeros(shape, dtype=torch.int64)
        elif key.endswith("running_var"):
            state[key] = torch.ones(shape)
        else:
            size = 1.0 if "pos" in key or len(shape) == 3 else 0.2 if len(shape) < 2 else prod(shape[1:]) ** -0.5
            state[key] = torch.randn(shape) * size + (len(shape) == 1 and key.endswith("weight"))
    return state
