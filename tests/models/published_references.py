"""Published ReID transformers computed a second time, from their papers and the facts of their repositories."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]


def reference_vit(s: State, images: Tensor, *, heads: int, prefix: list[Tensor], positions: Tensor, eps: float = 1e-6,
                  gelu: Callable[[Tensor], Tensor] = F.gelu) -> Tensor:  # fmt: skip
    """A ViT by timm's names: tokens of patches after the last norm, [B, C, H/16, W/16].

    Args:
        prefix: tokens before those of the patches, [1, 1, C] each, their positions added. positions: of patches.
    """
    x = F.conv2d(images, s["patch_embed.proj.weight"], s.get("patch_embed.proj.bias"), stride=16)
    (rows, columns), width = x.shape[2:], x.shape[1]
    x = x.flatten(2).transpose(1, 2) + positions
    x = torch.cat([token.expand(len(x), 1, width) for token in prefix] + [x], dim=1)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (width,), s[f"{name}.weight"], s[f"{name}.bias"], eps)

    def dense(x: Tensor, name: str) -> Tensor:
        return F.linear(x, s[f"{name}.weight"], s[f"{name}.bias"])

    if "norm_pre.weight" in s:
        x = norm(x, "norm_pre")
    for i in range(12):
        q, k, v = dense(norm(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv").chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))  # type: ignore[no-untyped-call]
        weights = (q @ k.transpose(-1, -2) * (width // heads) ** -0.5).softmax(-1)
        x = x + dense((weights @ v).transpose(1, 2).flatten(2), f"blocks.{i}.attn.proj")
        x = x + dense(gelu(dense(norm(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")), f"blocks.{i}.mlp.fc2")
    return norm(x, "norm")[:, len(prefix) :].transpose(1, 2).reshape(-1, width, rows, columns)


def reference_swin(s: State, images: Tensor, *, depths: tuple[int, ...], heads: int) -> Tensor:
    """SOLIDER's Swin by its own names, [B, 8C, H/32, W/32], at the semantic weight 0.2."""

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"])

    def dense(x: Tensor, name: str) -> Tensor:
        return F.linear(x, s[f"{name}.weight"], s.get(f"{name}.bias"))

    x = F.conv2d(images, s["patch_embed.projection.weight"], s["patch_embed.projection.bias"], stride=4)
    x = norm(x.permute(0, 2, 3, 1), "patch_embed.norm")
    for i, depth in enumerate(depths):
        for j in range(depth):
            at = f"stages.{i}.blocks.{j}"
            attended = window_attention(norm(x, f"{at}.norm1"), dense, s, f"{at}.attn.w_msa", heads * 2**i, 3 * (j % 2))
            x = x + attended
            x = x + dense(F.gelu(dense(norm(x, f"{at}.norm2"), f"{at}.ffn.layers.0.0")), f"{at}.ffn.layers.1")
        if i == 3:
            return norm(x, "norm3").permute(0, 3, 1, 2)
        rows, columns = x.shape[1:3]
        x = F.unfold(x.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)  # channels slowest, then row, then column
        x = dense(norm(x, f"stages.{i}.downsample.norm"), f"stages.{i}.downsample.reduction")
        weight = torch.tensor([[0.2, 0.8]])
        x = x * F.softplus(dense(weight, f"semantic_embed_w.{i}")) + dense(weight, f"semantic_embed_b.{i}")
        x = x.reshape(len(x), rows // 2, columns // 2, -1)
    raise AssertionError("a Swin has four stages")


def window_attention(x: Tensor, dense: Any, s: State, name: str, heads: int, shift: int) -> Tensor:
    """Attention between the cells of each 7×7 window, cell by cell pair: padded first, then shifted."""
    count, height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % 7, 0, -height % 7))
    full = x.shape[1:3]
    rows, columns = (torch.zeros(length, dtype=torch.int64) for length in full)
    for line in (rows, columns) if shift else ():  # cells that came round an edge see only their own kind
        line[-7:], line[-shift:] = 1, 2
    region = rows[:, None] * 3 + columns
    x = x.roll((-shift, -shift), (1, 2))
    at = torch.stack(torch.meshgrid(torch.arange(7), torch.arange(7), indexing="ij")).flatten(1)
    offset = at[:, :, None] - at[:, None, :] + 6
    bias = s[f"{name}.relative_position_bias_table"][offset[0] * 13 + offset[1]].permute(2, 0, 1)
    out = torch.zeros_like(x)
    for top in range(0, full[0], 7):
        for left in range(0, full[1], 7):
            cut = (slice(None), slice(top, top + 7), slice(left, left + 7))
            q, k, v = dense(x[cut].flatten(1, 2), f"{name}.qkv").reshape(count, 49, 3, heads, -1).permute(2, 0, 3, 1, 4)
            kind = region[cut[1:]].flatten()
            mask = torch.where(kind[:, None] == kind[None, :], 0.0, -100.0)
            weights = (q @ k.transpose(-1, -2) * (channels // heads) ** -0.5 + bias + mask).softmax(-1)
            mixed = dense((weights @ v).transpose(1, 2).flatten(2), f"{name}.proj")
            out[cut] = mixed.reshape(count, 7, 7, channels)
    return out.roll((shift, shift), (1, 2))[:, :height, :width]
