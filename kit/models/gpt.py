"""A decoder-only transformer in small: it says what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from kit.errors import ArgumentError
from kit.models.architecture import architecture

if TYPE_CHECKING:
    Cache = list[tuple[torch.Tensor, torch.Tensor]]


class Attention(nn.Module):
    """Causal self-attention, (N, T, width) to the same shape; keys and values of before may be given."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward, self.outward = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.later: torch.Tensor
        later = torch.full((context, context), -torch.inf).triu(1)
        self.register_buffer("later", later, persistent=False)

    def forward(
        self, x: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return what each place takes from those up to it, and all keys and values (N, heads, T, size)."""
        n, t, width = x.shape
        parts = self.inward(x).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        if before is not None:
            key, value = torch.cat([before[0], key], 2), torch.cat([before[1], value], 2)
        total = key.shape[2]
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5
        shares = (scores + self.later[total - t : total, :total]).softmax(-1)
        return self.outward((shares @ value).transpose(1, 2).reshape(n, t, width)), (key, value)


class Block(nn.Module):
    """Attention, then two linear layers, each beside a shortcut and after a normalisation."""

    def __init__(self, width: int, heads: int, context: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, context)
        self.body = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, before: tuple[torch.Tensor, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Map (N, T, width) to the same shape, and return the keys and values as well."""
        found, kept = self.attention(self.first(x), before)
        x = x + self.dropout(found)
        return x + self.dropout(self.body(self.second(x))), kept


class GPT(nn.Module):
    """Tokens (N, T) as numbers of any dtype to the logits (N, tokens, T) of what follows each.

    The classes stand on axis 1, where `cross_entropy` looks for them. Tokens may be float32, so that a
    language model is trained, exported, quantized and run like every other model.
    """

    def __init__(
        self, tokens: int, context: int, width: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.context = context
        self.tokens, self.places = nn.Embedding(tokens, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, context, dropout) for _ in range(layers))
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, tokens, bias=False)
        self.dropout = nn.Dropout(dropout)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                deeper = (2 * layers) ** -0.5 if name.endswith(("outward.weight", "body.2.weight")) else 1
                nn.init.normal_(weight, std=0.02 * deeper)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after every token, (N, tokens, T)."""
        x = self._embed(tokens.long(), 0)
        for block in self.blocks:
            x, _ = block(x)
        logits: torch.Tensor = self.head(self.last(x))
        return logits.transpose(1, 2)

    def step(self, tokens: torch.Tensor, cache: Cache | None = None) -> tuple[torch.Tensor, Cache]:
        """Go on from a cache of keys and values: only the new tokens (N, T) are computed.

        Returns:
            The logits (N, tokens) after the last of them, and the cache with them.
        """
        x = self._embed(tokens.long(), cache[0][0].shape[2] if cache else 0)
        kept = []
        for index, block in enumerate(self.blocks):
            x, grown = block(x, cache[index] if cache else None)
            kept.append(grown)
        logits: torch.Tensor = self.head(self.last(x[:, -1]))
        return logits, kept

    def _embed(self, tokens: torch.Tensor, first: int) -> torch.Tensor:
        x: torch.Tensor = self.tokens(tokens) + self.places.weight[first : first + tokens.shape[1]]
        return self.dropout(x) if self.training else x


@architecture
def gpt(
    *,
    tokens: int = 84,
    context: int = 128,
    width: int = 96,
    layers: int = 4,
    heads: int = 4,
    dropout: float = 0.0,
) -> nn.Module:
    """Build a small decoder-only transformer for (context,) tokens.

    With its defaults 475,968 parameters.

    Args:
        tokens: how many there are, such as `len(data.signature.classes)`.
        context: how many it sees at most.
        width, layers, heads: of the transformer; the width is shared among the heads.
        dropout: the share of values left out in training.

    Source: A. Radford et al., "Language models are unsupervised multitask learners", 2019, in small;
    https://github.com/karpathy/nanoGPT.
    """
    if width % heads:
        raise ArgumentError(f"the width must be a multiple of the heads, got {width} and {heads}")
    return GPT(tokens, context, width, layers, heads, dropout)
