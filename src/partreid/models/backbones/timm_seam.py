"""Any timm model as a backbone: ``timm/<model name>``. timm is an extra, imported only here and when one is built."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from partreid.errors import CheckpointError, ConfigError, MissingDependencyError
from partreid.models.backbones.base import Backbone
from partreid.models.backbones.published_transformers import TimmModel, timm_names

TIMM_PREFIX = "timm/"
_PURPOSE = "A backbone whose name begins with timm/"


@dataclass(frozen=True)
class TimmName:
    """``timm/<model name>[:<form>][@<height>x<width>]``.

    Attributes:
        model: its name in timm.
        form: the variant that published weights were trained with, if timm's own model computes something else.
            "pass" = a ViT with three more tokens, and no position for any of the four. "solider" = a Swin that pads
            before it shifts its windows of 7, in every stage. "" = timm's own model.
        size: of the images for which a ViT has position embeddings; None = timm's own.

    Raises:
        ConfigError: from :meth:`read`: the form does not exist, or the size is not valid.
    """

    model: str
    form: str = ""
    size: tuple[int, int] | None = None

    @classmethod
    def read(cls, name: str) -> TimmName:
        """The parts of a backbone's name."""
        found = re.fullmatch(
            r"([^:@]*)(?::(pass|solider))?(?:@([1-9]\d{0,3})x([1-9]\d{0,3}))?", name.removeprefix(TIMM_PREFIX)
        )
        if not found:
            raise ConfigError(
                f"Expected timm/MODEL, and behind it :pass or :solider and @HEIGHTxWIDTH where needed; got {name!r}."
            )
        model, form, height, width = found.groups()
        return cls(model, form or "", (int(height), int(width)) if height else None)

    @property
    def options(self) -> dict[str, Any]:
        """The options with which timm builds the model."""
        forms: dict[str, dict[str, Any]] = {
            "pass": {"reg_tokens": 3, "no_embed_class": True},
            "solider": {"always_partition": True},
        }
        size = {"img_size": self.size} if self.size else {}
        return {**forms.get(self.form, {}), **size}


class TimmBackbone(Backbone):
    """A timm model without its head; the tokens of transformers are folded into a map.

    The class token and register tokens are left out of the map. Images may have any size that is a multiple of the
    stride, because timm resamples position embeddings. Layers that only the head of the timm model uses are dropped and
    named in ``unused_keys``.

    Args:
        name: ``timm/<model name>``, with the additions that :class:`TimmName` allows.
        output_stride: None = the model's own. A smaller one removes the last strides, as ReID does; this needs ordinary
            convolutions. timm's own ``output_stride`` is not used: it would dilate the later convolutions instead,
            which computes other features.

    Raises:
        MissingDependencyError: timm, or a torchvision that fits PyTorch, is missing.
        ConfigError: there is no such model, it gives no feature map, or it cannot have that stride.
    """

    key_prefix = "network."

    @torch.inference_mode(mode=False)  # a model may be loaded in inference mode, but gradients are needed here
    def __init__(self, name: str, output_stride: int | None) -> None:
        super().__init__()
        self.name = name
        self.network: Any = _create(name)
        self.network.eval()
        try:
            probe = _probe(self.network)
            self._measure(probe)
            while output_stride is not None and output_stride < self.output_stride:
                self._remove_last_stride(probe)
                self._measure(probe)
            self._drop_head(probe)
        except (RuntimeError, AssertionError, TypeError, AttributeError) as error:
            wanted = f" of stride {output_stride}" if output_stride else ""
            raise ConfigError(f"{name} gives no feature map{wanted} for images of any size: {error}") from None
        if output_stride not in (None, self.output_stride):
            raise ConfigError(f"{name} has the output stride {self.output_stride}; set model.output_stride=null.")
        self.train()

    def imagenet_state(self) -> dict[str, Tensor]:
        """The weights that timm keeps for the model, from its cache or the Hugging Face Hub."""
        try:
            network = _create(self.name, pretrained=True)
        except Exception as error:  # any error of the Hub, the network or the cache
            raise CheckpointError(
                f"The weights of {self.name} could not be had from timm ({error}). Give a file of them as pretrained, "
                'or "none" to start from random weights.'
            ) from None
        state: dict[str, Tensor] = network.state_dict()
        return state

    def own_names(self, state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
        """Weights of published ReID transformers by timm's names; see :func:`timm_names`.

        Raises:
            CheckpointError: this model computes something else than the weights were trained for.
        """
        network = self.network
        patch, positions = getattr(network, "patch_embed", None), getattr(network, "pos_embed", None)
        of_16 = isinstance(positions, Tensor) and positions.ndim == 3 and getattr(patch, "patch_size", 0) == (16, 16)
        no_class = getattr(network, "no_embed_class", False)
        activations = [type(m).__name__ for name, m in network.named_modules() if name.endswith("mlp.act")]
        model = TimmModel(
            name=TimmName.read(self.name).model,
            form=TimmName.read(self.name).form,
            shapes={key: value.shape for key, value in network.state_dict().items()},
            grid=tuple(patch.grid_size) if patch is not None and of_16 else None,
            prefix_positions=0 if no_class else getattr(network, "num_prefix_tokens", 0),
            activation=activations[0] if activations else "",
            resample=_resampled,
        )
        return timm_names(state, model, source=source)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] → the last feature map, [B, C, H/output_stride, W/output_stride]."""
        return self._as_map(self.network.forward_features(images), images)

    def stages(self, images: Tensor) -> dict[int, Tensor]:
        """Features by stride, as far as the timm model provides them; at least the last map."""
        if not hasattr(self.network, "forward_intermediates"):
            final, intermediate = self.network.forward_features(images), []
        else:
            final, intermediate = self.network.forward_intermediates(images, output_fmt="NCHW")
        features = {images.shape[2] // x.shape[2]: x for x in intermediate}
        final = self._as_map(final, images)
        return features | {images.shape[2] // final.shape[2]: final}

    def _as_map(self, features: Tensor, images: Tensor) -> Tensor:
        """[B, C, h, w] of maps, of maps with the channels last, or of tokens [B, n, C]."""
        if features.ndim == 3:
            tokens = features[:, getattr(self.network, "num_prefix_tokens", 0) :].transpose(1, 2)
            height, width = images.shape[2:]
            stride = math.isqrt(height * width // tokens.shape[2])
            return tokens.reshape(*tokens.shape[:2], height // stride, width // stride)
        channels_last = "NHWC" in str(getattr(self.network, "output_fmt", ""))
        return features.permute(0, 3, 1, 2) if channels_last else features

    @torch.no_grad()
    def _measure(self, probe: Tensor) -> None:
        stages = self.stages(probe)
        final = self(probe)
        stride = probe.shape[2] // final.shape[2]
        if final.ndim != 4 or final.shape[2:] != (probe.shape[2] // stride, probe.shape[3] // stride):
            raise RuntimeError(f"{tuple(probe.shape)} gave {tuple(final.shape)}, which is no grid over the image")
        self.channels, self.output_stride, self.input_multiple = final.shape[1], stride, stride
        self.stage_channels = {s: x.shape[1] for s, x in stages.items() if s <= stride}

    def _remove_last_stride(self, probe: Tensor) -> None:
        """Set the stride of the convolutions that lead to the last resolution to 1."""
        coarse = probe.shape[2] // self.output_stride
        leaves = {module: name for name, module in self.network.named_modules() if not list(module.children())}
        found: list[nn.Module] = []

        def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            heights = [x.shape[2] for x in (*inputs[:1], output) if isinstance(x, Tensor) and x.ndim == 4]
            if heights == [2 * coarse, coarse]:
                found.append(module)

        hooks = [module.register_forward_hook(note) for module in leaves]
        try:
            with torch.no_grad():
                self(probe)
        finally:
            for hook in hooks:
                hook.remove()
        # Stride 1 adds outputs between the former ones only if an odd kernel is centred on its pixel.
        convolutions = [m for m in found if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
        dense = [m for m in convolutions if all(k % 2 for k in m.kernel_size)]
        unfit = [m for m in found if m not in dense]
        if unfit or not found:
            reason = f"{leaves[unfit[0]]} is {unfit[0]}" if unfit else "no convolution makes it"
            finer = sorted(s for s in self.stage_channels if 4 <= s < self.output_stride)
            offer = f", then model.map_stride={finer[-1]} for a finer map of its own stages, or" if finer else " and"
            raise ConfigError(
                f"{self.name} has the output stride {self.output_stride}, and its last stride cannot be set to 1 as a "
                f"ResNet's can: {reason}. (timm's own output_stride dilates the last stage, which is not ReID's last "
                f"stride 1.) Set model.output_stride=null{offer} take larger images."
            )
        for module in found:
            module.stride = (1, 1)  # type: ignore[assignment]

    def _drop_head(self, probe: Tensor) -> None:
        """Replace the parts of the timm model that the map does not depend on, and freeze other unused weights."""
        parameters = dict(self.network.named_parameters())
        with torch.enable_grad():
            gradients = torch.autograd.grad(self(probe).sum(), list(parameters.values()), allow_unused=True)
        unused = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is None}
        dropped = []
        for name, child in self.network.named_children():
            own = {f"{name}.{key}" for key, _ in child.named_parameters()}
            if own and own <= unused:
                setattr(self.network, name, nn.Identity())
                dropped.append(f"{name}.")
        self.unused_keys = tuple(dropped)
        for name in unused:
            parameters[name].requires_grad_(False)


def _probe(network: Any) -> Tensor:
    """A small image that fits the model's patches and strides. It is twice as high as wide, like persons."""
    patch = _patch(network)
    size = 4 * patch if patch >= 8 else 64  # plain transformers have one stride, their patch
    return torch.zeros(1, 3, 2 * size, size)


def _create(name: str, *, pretrained: bool = False) -> nn.Module:
    """The timm model, with random weights or timm's. If the model has such an option, images may have any size."""
    timm, wanted = _import_timm(), TimmName.read(name)
    if not timm.is_model(wanted.model):
        close = get_close_matches(wanted.model, timm.list_models(), n=1)
        hint = f"Did you mean {TIMM_PREFIX}{close[0]}?" if close else "timm.list_models() lists them."
        raise ConfigError(f"timm has no model {wanted.model!r}. {hint}")
    try:
        network: nn.Module = timm.create_model(
            wanted.model, pretrained=pretrained, dynamic_img_size=True, **wanted.options
        )
    except (TypeError, AssertionError) as error:
        if wanted.options:
            raise ConfigError(f"{wanted.model} has no form :{wanted.form} or size {wanted.size}: {error}") from None
        network = timm.create_model(wanted.model, pretrained=pretrained)  # convolutional models need no such option
    if wanted.size and (getattr(network, "pos_embed", None) is None or any(s % _patch(network) for s in wanted.size)):
        raise ConfigError(
            f"@HEIGHTxWIDTH is for ViTs, whose position embeddings have a size, a multiple of the patch; got {name}."
        )
    if wanted.form == "solider":
        from partreid.models.backbones.timm_swin import pad_before_shifting  # imports timm

        pad_before_shifting(network, name)
    return network


def _patch(network: Any) -> int:
    """Pixels of a transformer's patch; 1 = it has none."""
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None) or 1
    return max(patch) if isinstance(patch, tuple) else patch


def _resampled(positions: Tensor, new: tuple[int, int], old: tuple[int, int], prefix: int) -> Tensor:
    """Position embeddings [1, prefix + old, C] → [1, prefix + new, C], as timm does it for images of another size."""
    from timm.layers import resample_abs_pos_embed

    resampled: Tensor = resample_abs_pos_embed(positions, list(new), list(old), num_prefix_tokens=prefix)
    return resampled


def _import_timm() -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name == "timm":
            raise MissingDependencyError("timm", purpose=_PURPOSE, extra="timm") from None
        raise _broken(error) from None
    except Exception as error:  # a torchvision built for another PyTorch fails with a RuntimeError
        raise _broken(error) from None
    return timm


def _broken(error: Exception) -> MissingDependencyError:
    advice = (
        f"(timm could not be imported: {error}.) Install torchvision from where PyTorch came from, in the version that "
        f"belongs to PyTorch {torch.__version__}: https://pytorch.org/get-started. On a CPU-only PyTorch the "
        f"torchvision of PyPI does not work."
    )
    return MissingDependencyError("a torchvision built for this PyTorch", purpose=_PURPOSE, advice=advice)
