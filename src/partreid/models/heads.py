"""What follows pooling: embedding heads, BN necks and identity classifiers (Eq. 6; Luo et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn

WEIGHT_STD = 0.001
"""Standard deviation of a new part or identity classifier's weights."""


class EmbeddingHead(nn.Module):
    """Linear + BatchNorm1d + ReLU from C to D channels (published weights; none in the paper).

    One head serves [B, C], or all parts together as [B, K, C]: then its statistics are over B·K vectors.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(channels, dim), nn.BatchNorm1d(dim), nn.ReLU(inplace=True))
        nn.init.normal_(self.layers[0].weight, std=0.01)  # type: ignore[arg-type]
        nn.init.zeros_(self.layers[0].bias)  # type: ignore[arg-type]

    def forward(self, vectors: Tensor) -> Tensor:
        """[..., C] → [..., D]."""
        projected: Tensor = self.layers(vectors.flatten(0, -2))
        return projected.view(*vectors.shape[:-1], -1)


class BNNeck(nn.Module):
    """BatchNorm1d with its bias frozen at 0, then a linear identity classifier without bias.

    Args:
        dim: width of the vector. num_identities: training identities.
    """

    def __init__(self, dim: int, num_identities: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(dim)
        self.bn.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, num_identities, bias=False)
        nn.init.normal_(self.classifier.weight, std=WEIGHT_STD)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, D] → normalised vectors [B, D]; ``classifier`` makes identity logits of them."""
        normalized: Tensor = self.bn(vectors)
        return normalized
