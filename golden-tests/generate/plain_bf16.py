"""What plain PyTorch makes of golden models in bf16: its errors, beside which those of a GPU in bf16 are judged.

    python3 golden-tests/generate/plain_bf16.py FILE...     writes NAME.bf16.json beside each golden file NAME.safetensors

The model is that of model.py with weights, activations and residual stream in bf16: every operation rounds its result,
where plain PyTorch code would. In float32 are the norms with their weights, θ and LRPE's phases, decay rates, attention
between its bf16 operands and its bf16 result, states, the sums of matrix products, the loss, and the gradients of
parameters, which count before PyTorch rounds them to the type of the weight. Errors are against the outputs in the file.

What one run's roundings do to a few numbers is chance. So the model runs RUNS times; in all runs but the first every
weight is off by up to 1/4 of its last bit, which makes the roundings behind it fall otherwise. SPEC.md section 1.4.
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from model import ACTIVATIONS, Model, identity, load, slopes

VERSION = "1"
RUNS = 257


class PlainBf16(Model):
    """Weights are bf16 numbers held in float32, so that what they are multiplied with is summed in float32.

    generator: of the weights' perturbations; without one there are none
    """

    def __init__(self, config, tied, tensors, generator=None):
        super().__init__(config, tied)
        self.rates = self.rates.float()
        for name in self.shapes():
            x = tensors[name].float()
            if "norm" not in name and not name.endswith("theta"):
                x = x.bfloat16().float()
                if generator is not None:
                    x = x * (1 + 2 ** -10 * (2 * torch.rand(x.shape, generator=generator) - 1))
            self.p[name] = x.requires_grad_()

    def embed(self, ids):
        rows = F.embedding(ids, self.p["model.embed_tokens.weight"], padding_idx=self.padding)
        return rows.bfloat16() * self.scale

    def norm(self, name, x):
        return super().norm(name, x.float()).bfloat16()

    def linear(self, name, x):
        return super().linear(name, x.float()).bfloat16()

    def lrpe_features(self, layer, x, positions):
        return super().lrpe_features(layer, x.float(), positions).bfloat16()

    def part(self, ids, start, states, mask=None, record=lambda name, x: None):
        """Logits of tokens that follow `start` others; states (B, H, dk, dv) by layer are taken up and replaced."""
        n = ids.shape[1]
        t = torch.arange(n, dtype=torch.float32)
        distance = t[:, None] - t

        def attend(layer, q, k, v):
            q, k, v = q.float(), k.float(), v.float()
            v = v if mask is None else v * mask[:, None, :, None]
            rate = self.rates[layer][:, None, None]
            weight = torch.where(distance >= 0, torch.exp(-rate * distance.clamp(min=0)), 0.0)
            o = (q @ k.transpose(-1, -2) * weight) @ v
            state = (k * torch.exp(-rate * (n - 1 - t)[:, None])).transpose(-1, -2) @ v
            if layer in states:
                o = o + q @ states[layer] * torch.exp(-rate * (t + 1)[:, None])
                state = state + torch.exp(-rate * n) * states[layer]
            states[layer] = state
            return o.bfloat16()
        return self.forward(ids, start + t, attend, record).float()

    def training(self, ids, mask=None, record=lambda name, x: None):
        return self.part(ids, 0, {}, mask, record)

    def inference(self, ids, mask=None, prompt=None):
        """The prompt, or everything, at once, then token by token."""
        states = {}
        logits = [self.part(ids[:, :prompt], 0, states, mask)]
        after_prompt = dict(states)
        logits += [self.part(ids[:, t:t + 1], t, states) for t in range(prompt or ids.shape[1], ids.shape[1])]
        return torch.cat(logits, 1), after_prompt, states


def tables(tensors):
    """Of actfn.* and slopes.h* what the file has."""
    out = {}
    for name in tensors:
        if name.startswith("slopes.h"):
            out[name] = torch.tensor(slopes(int(name[8:])), dtype=torch.float32)
        elif name.startswith("actfn.") and name != "actfn.input":
            out[name] = ACTIVATIONS.get(name[6:], identity)(tensors["actfn.input"].bfloat16())
    return out


def errors(tensors, metadata):
    """By tensor: RMS of the first run's errors, of those of the run where it is largest, largest error of all runs."""
    info, runs = metadata["info"], {}
    for run in range(RUNS):
        generator = torch.Generator().manual_seed(run) if run > 0 else None
        model = PlainBf16(metadata["config"], info["tied"], tensors, generator)
        got = model.outputs(tensors["input_ids"], tensors["labels"], info["P"], tensors.get("padded.attention_mask"))
        for name, x in (got | tables(tensors)).items():
            error = x.double() - tensors[name].detach()
            runs.setdefault(name, []).append((error.square().mean().item(), error.abs().max().item()))
    out = {}
    for name, one in runs.items():
        squares, largest = zip(*one)
        numbers = {"rms": math.sqrt(squares[0]), "worst_rms": math.sqrt(max(squares)), "max": max(largest)}
        if not all(math.isfinite(x) for x in numbers.values()):
            raise ValueError(f"{name}: {numbers}")
        out[name] = {key: float(f"{x:.5g}") for key, x in numbers.items()}
    return out


def main(paths):
    torch.set_num_threads(1)
    for path in map(Path, paths):
        made = {"generator": f"golden-tests/generate/plain_bf16.py {VERSION}", "torch": torch.__version__, "runs": RUNS,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(x)}" for name, x in errors(*load(path)).items())
        path.with_suffix(".bf16.json").write_text(
            f'{{\n  "made": {json.dumps(made)},\n  "errors": {{\n{lines}\n  }}\n}}\n')


if __name__ == "__main__":
    main(sys.argv[1:])
