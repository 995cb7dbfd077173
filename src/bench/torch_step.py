"""A training step of the shape of `tnl bench step` in plain PyTorch on the CPU: float32, AdamW, clipping at 1.

usage: torch_step.py [THREADS]     needs PyTorch 2; prints the median step of the quadratic and of the chunked form
"""
import math
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

VOCABULARY, WIDTH, LAYERS, HEADS, GLU = 512, 256, 4, 4, 768
BATCH, TOKENS, CHUNK = 4, 256, 64
WARM_UP, STEPS = 5, 30


def srms_norm(x):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


def decays(rates, tokens):
    """(H, T, T): lambda^(t-s) where s <= t, else 0."""
    distance = torch.arange(tokens)[:, None] - torch.arange(tokens)
    return torch.exp(-rates[:, None, None] * distance.clamp(min=0)) * (distance >= 0)


def quadratic(q, k, v, rates):
    return (q @ k.mT * decays(rates, q.shape[-2])) @ v


def chunked(q, k, v, rates):
    within = decays(rates, CHUNK)
    t = torch.arange(CHUNK)
    queries = torch.exp(-rates[:, None, None] * (t[:, None] + 1))
    keys = torch.exp(-rates[:, None, None] * (CHUNK - 1 - t[:, None]))
    whole = torch.exp(-rates * CHUNK)[:, None, None]
    state, outputs = 0, []
    for a, b, c in zip(q.split(CHUNK, 2), k.split(CHUNK, 2), v.split(CHUNK, 2)):
        outputs.append((a @ b.mT * within) @ c + (a * queries) @ state if outputs else (a @ b.mT * within) @ c)
        state = whole * state + (b * keys).mT @ c
    return torch.cat(outputs, 2)


class Block(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.qkvu = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.w1 = nn.Linear(WIDTH, GLU, bias=False)
        self.w2 = nn.Linear(WIDTH, GLU, bias=False)
        self.w3 = nn.Linear(GLU, WIDTH, bias=False)
        slopes = 2.0 ** (-8 * torch.arange(1, HEADS + 1) / HEADS)
        self.register_buffer("rates", slopes * (1 - layer / (LAYERS - 1) + 1e-5))
        theta = 10000.0 ** (-2 * torch.arange(WIDTH) / WIDTH)
        self.theta = nn.Parameter(theta.view(HEADS, 1, -1)) if layer == 0 else None

    def heads(self, x):
        return x.view(BATCH, TOKENS, HEADS, -1).transpose(1, 2)

    def forward(self, x, attention):
        q, k, v, u = self.qkvu(srms_norm(x)).chunk(4, -1)
        q, k, v = self.heads(F.silu(q)), self.heads(F.silu(k)), self.heads(v)
        if self.theta is not None:
            phase = self.theta * torch.arange(TOKENS)[:, None]
            q, k = (torch.cat((y * phase.cos(), y * phase.sin()), -1) for y in (q, k))
        o = attention(q, k, v, self.rates).transpose(1, 2).reshape(BATCH, TOKENS, WIDTH)
        x = x + self.out(u * srms_norm(o))
        y = srms_norm(x)
        return x + self.w3(self.w1(y) * self.w2(y))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(map(Block, range(LAYERS)))
        for weight in self.parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=0.02)

    def forward(self, ids, attention):
        x = self.embedding(ids) * math.sqrt(WIDTH)
        for block in self.blocks:
            x = block(x, attention)
        return F.linear(srms_norm(x), self.embedding.weight)


def median_step(attention):
    torch.manual_seed(0)
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
    ids = torch.randint(0, VOCABULARY, (BATCH, TOKENS + 1))
    times = []
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter()
        loss = F.cross_entropy(model(ids[:, :-1], attention).flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    return statistics.median(times[WARM_UP:])


torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
for form in (quadratic, chunked):
    seconds = median_step(form)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {form.__name__}: "
          f"{seconds * 1e3:.1f} ms/step, {BATCH * TOKENS / seconds:,.0f} tokens/s")
