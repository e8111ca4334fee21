"""Key names of published person-ReID transformers, as timm names them: TransReID, PersonViT, PASS, CLIP-ReID, SOLIDER.

Names and shapes are facts of the public repositories (docs/models.md); their code is not used. A key in none of the
lists below keeps its name, and loading the state dict then refuses it by that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from partreid.errors import CheckpointError, warn

State = dict[str, Tensor]

SEMANTIC_WEIGHT = 0.2
"""The value that SOLIDER-REID sets for every result it reports (its README). The file does not contain it."""

_GRIDS = {h * w: (h, w) for h, w in ((16, 8), (24, 8), (24, 12), (14, 14), (16, 16), (24, 24))}
"""Number of positions → grid at stride 16: images of 256×128, 384×128, 384×192, and squares of 224, 256 and 384."""

_OVERLAPS = {
    ((h - 16) // s + 1) * ((w - 16) // s + 1): f"{h}x{w} at stride {s}"
    for s in (11, 12, 14)
    for h, w in ((256, 128), (384, 128), (384, 192))
}
"""Number of positions with overlapping patches of 16 pixels, as in the "stride" variants of TransReID and CLIP-ReID."""


@dataclass(frozen=True)
class TimmModel:
    """The needed facts about the timm model that gets the weights.

    Attributes:
        name: without ``timm/`` and without the parts after ``:`` or ``@``.
        form: "" = timm's own, or "pass" or "solider": see :class:`~partreid.models.backbones.timm_seam.TimmName`.
        shapes: of its state dict.
        grid: rows and columns of its position embeddings; None = it has none, or its patches do not have 16 pixels.
        prefix_positions: number of position embeddings before those of the grid, for tokens that are no patch.
        activation: class name of the first block's activation.
        resample: (positions [1, n, C], new grid, old grid, prefix positions) → positions, as timm resamples them.
    """

    name: str
    form: str
    shapes: Mapping[str, torch.Size]
    grid: tuple[int, int] | None = None
    prefix_positions: int = 1
    activation: str = "GELU"
    resample: Callable[[Tensor, tuple[int, int], tuple[int, int], int], Tensor] | None = None

    def named(self, size: str, form: str | None = None) -> str:
        """The name of the same backbone for another size, or of another form."""
        form = self.form if form is None else form
        return f"timm/{self.name}{f':{form}' if form else ''}{size}"


def timm_names(state: Mapping[str, Tensor], model: TimmModel, *, source: str) -> State:
    """The same weights under timm's names; any prefix stays. If no family is recognised, they are unchanged.

    Raises:
        CheckpointError: the model computes something else than the weights were trained for, or they are damaged.
    """
    try:
        for mark, translate in _FAMILIES.items():
            found = [key.removesuffix(mark) for key in state if key == mark or key.endswith(f".{mark}")]
            if len(found) == 1 and not found[0].endswith("network."):  # a training of this project has timm's names
                return translate(dict(state), found[0], model, source)
    except RuntimeError as error:  # tensors of other kinds, on which nothing can be computed
        raise CheckpointError(f"{source} holds weights that cannot be used: {error}") from None
    return dict(state)


def _vit(state: State, prefix: str, model: TimmModel, source: str) -> State:
    """TransReID, PersonViT and other weights with timm's own names of a plain ViT after a prefix."""
    if any(key.startswith(f"{prefix}patch_embed.conv.") for key in state):
        raise CheckpointError(
            f"{source} is a ViT behind a stem of convolutions ({prefix}patch_embed.conv), which no timm ViT has. Take "
            "the family's file without it."
        )
    state = _without(state, prefix, _VIT_UNUSED)
    state = _global_branch(state, prefix)
    state = _camera_free(state, f"{prefix}sie_embed", source)
    return _positions(state, prefix, model, source)


def _pass(state: State, prefix: str, model: TimmModel, source: str) -> State:
    """PASS: class and part tokens have position embeddings, which are added to the tokens' weights here."""
    if model.form != "pass":
        raise CheckpointError(
            f"{source} is a PASS model: it has three part tokens, which change every other token. "
            f"Set model.backbone={model.named('@256x128', 'pass')}."
        )
    tokens = {"cls_token": "cls_pos"} | {f"part_token{i}": f"part{i}_pos" for i in (1, 2, 3)}
    parts = [state.get(prefix + key) for pair in tokens.items() for key in pair]
    if any(x is None or x.shape != model.shapes.get("cls_token") or not x.is_floating_point() for x in parts):
        return state  # loading names what is wrong
    sums = [
        state.pop(prefix + token).float() + state.pop(prefix + position).float() for token, position in tokens.items()
    ]
    state |= {f"{prefix}cls_token": sums[0], f"{prefix}reg_token": torch.cat(sums[1:], dim=1)}
    return _vit(state, prefix, model, source)


def _clip(state: State, prefix: str, model: TimmModel, source: str) -> State:
    """The visual tower of CLIP in CLIP-ReID's form. Its projection to CLIP's space comes after the feature map."""
    if model.activation != "QuickGELU":
        raise CheckpointError(
            f"{source} is a CLIP model, which computes QuickGELU; timm/{model.name} computes {model.activation}. "
            "Set model.backbone=timm/vit_base_patch16_clip_quickgelu_224@256x128."
        )
    state = _camera_free(state, prefix.removesuffix("image_encoder.") + "cv_embed", source)
    state = _without(state, prefix, _CLIP_UNUSED)
    state = {_renamed(key, prefix, _CLIP): value for key, value in state.items()}
    for key, dimensions in (("cls_token", 1), ("pos_embed", 2)):  # [C] and [1 + n, C]
        value = state.get(prefix + key)
        if value is not None and value.ndim == dimensions:
            state[prefix + key] = value[(None,) * (3 - dimensions)]
    return _positions(state, prefix, model, source)


def _solider(state: State, prefix: str, model: TimmModel, source: str) -> State:
    """SOLIDER's Swin has MMSegmentation's names, and its semantic controller after every reduction."""
    if model.form != "solider":
        raise CheckpointError(
            f"{source} is a SOLIDER model. Its Swin pads before it shifts windows, and shifts them in the last stage "
            f"too; timm's own does neither. Set model.backbone={model.named('', 'solider')}."
        )
    state = _without(_controlled(state, prefix, model, source), prefix, _SWIN_UNUSED)
    named: State = {}
    for key, value in state.items():
        name = _renamed(key, prefix, _SWIN)
        if merging := _MERGING.fullmatch(name):
            # timm reduces at the beginning of a stage, MMSegmentation at the end of the one before.
            own = f"layers.{int(merging['stage']) + 1}.{merging['rest']}"
            name, value = prefix + own, _channels(value) if value.shape == model.shapes.get(own) else value
        named[name] = value
    return named


def _controlled(state: State, prefix: str, model: TimmModel, source: str) -> State:
    """Fold the semantic controller, x · softplus(W w) + B w, into the reduction before it, for w = (0.2, 0.8).

    timm's reduction has no bias, so the norm before it takes the shift. This is always possible: the reduction halves
    the channels, so every shift results from some change of the norm's bias.
    """
    layers = {f"{prefix}semantic_embed_{which}.{i}.{key}"
              for which in "wb" for i in range(4) for key in ("weight", "bias")}  # fmt: skip
    if not layers & state.keys():
        return state  # a Swin without the controller
    for i in range(3):
        keys = [f"{prefix}semantic_embed_{which}.{i}.{key}" for which in "wb" for key in ("weight", "bias")]
        keys += [f"{prefix}stages.{i}.downsample.{key}" for key in ("reduction.weight", "norm.bias")]
        width = (model.shapes.get(f"layers.{i + 1}.downsample.reduction.weight") or (0,))[0]
        expected = [(width, 2), (width,), (width, 2), (width,), (width, 2 * width), (2 * width,)]
        tensors = [state[key] for key in keys if key in state]
        if [tuple(x.shape) for x in tensors] != expected:
            return state  # another Swin, or not whole: loading names every key
        if not all(x.is_floating_point() and x.isfinite().all() for x in tensors):
            raise CheckpointError(f"{source}: expected finite floating-point numbers in {', '.join(keys)}.")
        state[keys[4]], state[keys[5]] = _folded(*(x.double() for x in tensors), source=f"{source}, stage {i}")
    warn(f"{source}: SOLIDER's semantic weight is fixed at {SEMANTIC_WEIGHT}, as in its ReID results.")
    # The controller after the last stage does not affect the output.
    return {key: value for key, value in state.items() if key not in layers}


def _folded(
    w: Tensor, w_bias: Tensor, b: Tensor, b_bias: Tensor, reduction: Tensor, bias: Tensor, *, source: str
) -> tuple[Tensor, Tensor]:
    """Weight of the reduction, bias of the norm before it; both in float32."""
    weights = torch.tensor([SEMANTIC_WEIGHT, 1 - SEMANTIC_WEIGHT], dtype=torch.float64)
    scale, shift = F.softplus(w @ weights + w_bias), b @ weights + b_bias
    scaled = (scale[:, None] * reduction).float()
    moved = (bias + torch.linalg.pinv(scaled.double()) @ shift).float()
    error = float((scaled.double() @ (moved.double() - bias) - shift).abs().max())
    if not error <= 1e-5 * max(1.0, float(shift.abs().max())):
        raise CheckpointError(f"{source}: the semantic controller cannot be folded (error {error:g}).")
    return scaled, moved


def _channels(value: Tensor) -> Tensor:
    """Input channels of a reduction [D, 4C] or of its norm [4C], from channel, row, column to column, row, channel."""
    return value.reshape(*value.shape[:-1], -1, 2, 2).transpose(-3, -1).flatten(-3)


def _global_branch(state: State, prefix: str) -> State:
    """With TransReID's JPM, ``b1`` is the trained last block with its norm. The base's own were never trained."""
    outer = prefix.removesuffix("base.")
    branch = {k: v for k, v in state.items() if re.match(re.escape(outer) + r"b1\.[01]\.", k)}
    blocks = [int(m[1]) for k in state if (m := re.match(re.escape(prefix) + r"blocks\.(\d+)\.", k))]
    if not branch or outer == prefix or not blocks:
        return state
    last = (f"{prefix}blocks.{max(blocks)}.", f"{prefix}norm.")
    state = {k: v for k, v in state.items() if k not in branch and not k.startswith((*last, f"{outer}b2."))}
    for k, v in branch.items():
        place, _, key = k.removeprefix(f"{outer}b1.").partition(".")
        state[last[int(place)] + key] = v
    return state


def _camera_free(state: State, key: str, source: str) -> State:
    if key in state:
        warn(
            f"{source}: {key}, an embedding for each camera or view, is left out, because images come without that "
            "here. The features are not those of the published network: train it on, or take the family's file "
            "without camera embeddings (SIE)."
        )
    return {k: v for k, v in state.items() if k != key}


def _positions(state: State, prefix: str, model: TimmModel, source: str) -> State:
    """Position embeddings [1, n, C] for the model's grid: unchanged, or resampled with a warning."""
    positions = state.get(f"{prefix}pos_embed")
    if positions is None or positions.ndim != 3 or model.grid is None:
        return state
    count = positions.shape[1] - model.prefix_positions
    grid, mine = _GRIDS.get(count), model.grid
    if count in _OVERLAPS:
        raise CheckpointError(
            f"{source} has overlapping patches: {count} position embeddings are those of {_OVERLAPS[count]}. timm's "
            "ViTs have stride 16; take the family's file of stride 16."
        )
    if grid == mine or (grid is None and positions.shape == model.shapes.get("pos_embed")):
        return state
    if grid is None:
        raise CheckpointError(
            f"{source} has {count} position embeddings, and {model.name} {mine[0]}x{mine[1]}. Say the size of the "
            f"images it was trained for: model.backbone={model.named('@HEIGHTxWIDTH')}."
        )
    if tuple(positions.shape[::2]) != (1, *model.shapes["pos_embed"][2:]) or model.resample is None:
        return state  # a wrong shape; loading will name it
    warn(
        f"{source}: its position embeddings, {grid[0]}x{grid[1]}, were resampled to {mine[0]}x{mine[1]}, which loses "
        f"detail. {model.named(f'@{16 * grid[0]}x{16 * grid[1]}')} uses them unchanged."
    )
    return state | {f"{prefix}pos_embed": model.resample(positions, mine, grid, model.prefix_positions)}


def _without(state: State, prefix: str, unused: re.Pattern[str]) -> State:
    return {k: v for k, v in state.items() if not (k.startswith(prefix) and unused.fullmatch(k.removeprefix(prefix)))}


def _renamed(key: str, prefix: str, rules: tuple[tuple[str, str], ...]) -> str:
    """The key under timm's name with the same prefix; unchanged if it lies elsewhere."""
    if not key.startswith(prefix):
        return key
    own = key.removeprefix(prefix)
    for pattern, name in rules:
        own = re.sub(pattern, name, own)
    return prefix + own


_CLIP = (
    (r"^class_embedding$", "cls_token"), (r"^positional_embedding$", "pos_embed"), (r"^conv1\.", "patch_embed.proj."),
    (r"^ln_pre\.", "norm_pre."), (r"^ln_post\.", "norm."), (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_([12])\.", r".norm\1."), (r"\.attn\.in_proj_", ".attn.qkv."), (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."), (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)  # fmt: skip
_SWIN = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."), (r"^stages\.", "layers."), (r"^norm3\.", "norm."),
    (r"\.attn\.w_msa\.", ".attn."), (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."), (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
)  # fmt: skip
_MERGING = re.compile(r"(.*\.)?layers\.(?P<stage>\d+)\.(?P<rest>downsample\.(norm|reduction)\.(weight|bias))")

_VIT_UNUSED = re.compile(r"fc\.(weight|bias)|masked_embed")
"""Unused keys: ImageNet's classifier, which is never trained, and the token for masked patches in pretraining."""
_CLIP_UNUSED = re.compile(r"proj")
"""Unused key: the projection to the space that images share with texts."""
_SWIN_UNUSED = re.compile(r"norm[012]\.(weight|bias)|.*\.relative_position_index")
"""Unused keys: norms of the earlier stages' outputs, which are not used here, and an index that timm computes."""

_FAMILIES: dict[str, Callable[[State, str, TimmModel, str], State]] = {
    "part_token1": _pass,
    "class_embedding": _clip,
    "stages.0.blocks.0.attn.w_msa.qkv.weight": _solider,
    "pos_embed": _vit,
}
"""The key by which a family is recognised, and the function that translates its names. PASS comes first, because it has
``pos_embed`` too."""
