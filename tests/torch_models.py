"""The same models in PyTorch, with our parameter names: what tests and benchmarks compare with."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tinylm.models import GPT2Config, GRUConfig, LSTMConfig


class TorchAttention(nn.Module):
    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.projection(y.transpose(1, 2).reshape(B, T, C))


class TorchFeedForward(nn.Module):
    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.up = nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class TorchBlock(nn.Module):
    def __init__(self, config: GPT2Config):
        super().__init__()
        C = config.n_embd
        self.norm1 = nn.LayerNorm(C, eps=config.layer_norm_epsilon)
        self.attention = TorchAttention(C, config.n_head)
        self.norm2 = nn.LayerNorm(C, eps=config.layer_norm_epsilon)
        self.feed_forward = TorchFeedForward(C, config.n_inner or 4 * C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed_forward(self.norm2(x))


class TorchGPT2(nn.Module):
    def __init__(self, config: GPT2Config):
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions = nn.Embedding(config.n_positions, config.n_embd)
        self.blocks = nn.ModuleList(TorchBlock(config) for _ in range(config.n_layer))
        self.norm = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def loss(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


class TorchRecurrent(nn.Module):
    """An LSTM has one bias per gate, as ours: PyTorch's second one is frozen at zero."""

    def __init__(self, config: LSTMConfig | GRUConfig):
        super().__init__()
        kind = nn.GRU if isinstance(config, GRUConfig) else nn.LSTM
        self.tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.recurrent = kind(config.embedding_size, config.hidden_size, config.num_layers, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        for name, parameter in self.recurrent.named_parameters():
            if name.startswith("bias_hh") and kind is nn.LSTM:
                nn.init.zeros_(parameter)
                parameter.requires_grad = False

    def loss(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x, _ = self.recurrent(self.tokens(ids))
        logits = self.head(x)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


TORCH_NAMES = {"w_input": "weight_ih_l", "w_hidden": "weight_hh_l", "bias": "bias_ih_l"}
TORCH_NAMES |= {"b_input": "bias_ih_l", "b_hidden": "bias_hh_l"}


def torch_name(name: str) -> str:
    """PyTorch's name of one of our parameters."""
    if name.startswith("recurrent.directions."):
        layer, kind = name.removeprefix("recurrent.directions.").split(".")
        return f"recurrent.{TORCH_NAMES[kind]}{layer}"
    return name


def take_weights(model: nn.Module, state: dict[str, np.ndarray]) -> nn.Module:
    """Give a model of this module the weights of ours, in their dtype."""
    dtype = next(iter(state.values())).dtype
    model.to(torch.float64 if dtype == np.float64 else torch.float32)
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, array in state.items():
            own[torch_name(name)].copy_(torch.from_numpy(np.array(array)))
    return model


def torch_optimizer(model: nn.Module, **settings) -> torch.optim.Optimizer:
    """AdamW with decay on matrices alone, in one fused pass."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.pop("weight_decay")},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, fused=True, **settings)


def torch_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ids: np.ndarray,
    *,
    lr: float,
    clip: float,
    precision: str = "float32",
) -> float:
    """One step of training, as `tinylm.training.Trainer` takes it; the loss. In bfloat16 by PyTorch's autocast."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad(set_to_none=True)
    batch = torch.from_numpy(ids.astype(np.int64))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = model.loss(batch[:, :-1], batch[:, 1:])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()
