"""The student: a Qwen3 decoder that returns the state of the last token alone.

Parameters have the names of transformers' Qwen3Model, so that a state dict is a checkpoint. It is
plain torch, so that torch.compile fuses it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workspace import VOCABULARY_SIZE

# Positions that rotary angles are prepared for; training texts are shorter.
MAXIMUM_POSITIONS = 512


@dataclass(frozen=True)
class StudentConfig:
    """Shape of the student, in the words of config.json."""

    vocab_size: int = VOCABULARY_SIZE
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 32
    intermediate_size: int = 768
    rope_theta: float = 1_000_000
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Makes a linear layer without bias."""
    return nn.Linear(inputs, outputs, bias=False)


class RMSNorm(nn.Module):
    """Root mean square norm, computed in float32."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, states: Tensor) -> Tensor:
        """Normalises the last dimension."""
        wide = states.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (wide * scale * self.weight).to(states.dtype)


def rotate(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Applies rotary position embedding, halves rotated against each other."""
    first, second = states.chunk(2, -1)
    return states * cosine + torch.cat((-second, first), -1) * sine


class Attention(nn.Module):
    """Causal self-attention with grouped keys and values, queries and keys normalised per head."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.key_value_heads = config.num_key_value_heads
        self.head_dim = config.head_dim
        query_width = self.heads * self.head_dim
        key_value_width = self.key_value_heads * self.head_dim
        self.q_proj = linear(config.hidden_size, query_width)
        self.k_proj = linear(config.hidden_size, key_value_width)
        self.v_proj = linear(config.hidden_size, key_value_width)
        self.o_proj = linear(query_width, config.hidden_size)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(self.head_dim, config.rms_norm_eps)

    def split_heads(self, states: Tensor, heads: int) -> Tensor:
        """Shapes [batch, length, heads * head_dim] to [batch, length, heads, head_dim]."""
        batch, length, _ = states.shape
        return states.view(batch, length, heads, self.head_dim)

    def forward(self, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Attends from each token to itself and those before it."""
        batch, length, _ = states.shape
        query = self.q_norm(self.split_heads(self.q_proj(states), self.heads)).transpose(1, 2)
        key = self.k_norm(self.split_heads(self.k_proj(states), self.key_value_heads)).transpose(
            1, 2
        )
        value = self.split_heads(self.v_proj(states), self.key_value_heads).transpose(1, 2)
        query = rotate(query, cosine, sine).to(value.dtype)
        key = rotate(key, cosine, sine).to(value.dtype)

        group = self.heads // self.key_value_heads
        key = key.repeat_interleave(group, 1)
        value = value.repeat_interleave(group, 1)
        scores = (query @ key.transpose(-1, -2)).float() * self.head_dim**-0.5
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(later, float("-inf")).softmax(-1).to(value.dtype)
        return self.o_proj((weights @ value).transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    """Gated feed-forward network."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.gate_proj = linear(config.hidden_size, config.intermediate_size)
        self.up_proj = linear(config.hidden_size, config.intermediate_size)
        self.down_proj = linear(config.intermediate_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        """Transforms each token by itself."""
        return self.down_proj(F.silu(self.gate_proj(states)) * self.up_proj(states))


class DecoderLayer(nn.Module):
    """Attention and feed-forward network, each after a norm and added to its input."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Runs the layer."""
        states = states + self.self_attn(self.input_layernorm(states), cosine, sine)
        return states + self.mlp(self.post_attention_layernorm(states))


class Student(nn.Module):
    """The decoder."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        frequencies = 1 / config.rope_theta ** (
            torch.arange(0, config.head_dim, 2) / config.head_dim
        )
        angles = torch.outer(torch.arange(MAXIMUM_POSITIONS).float(), frequencies)
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=config.initializer_range)

    def forward(self, token_ids: Tensor, last_positions: Tensor) -> Tensor:
        """Returns the normed state at each row's last position, [batch, hidden].

        The ids, [batch, length], are padded on the right: causal attention never sees what comes
        after the last token, so that no mask is needed.
        """
        batch, length = token_ids.shape
        cosine, sine = self.cosine[:length], self.sine[:length]
        states = self.embed_tokens(token_ids)
        for layer in self.layers:
            states = layer(states, cosine, sine)
        return self.norm(states[torch.arange(batch), last_positions].float())
