"""Golden cases of whole models: what the released code computes, in plain PyTorch float64 with autograd.

    python3 golden-tests/generate/model.py                          writes golden-tests/model/*.safetensors
    python3 golden-tests/generate/model.py random FOLDER N [SEED]   writes N cases of random configurations
    python3 golden-tests/generate/model.py check FILE...            computes the outputs of golden files again

Nothing of the Java code is used, and no formula is shared with it beyond the paper's: training is the full masked product,
inference one token at a time, gradients are autograd's. Layout: SPEC.md section 6.5. `check` compares the files of the
released code with this program, to the rounding of their float32 storage.
"""

import json
import math
import random
import struct
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

VERSION = "1"
ROOT = Path(__file__).resolve().parents[1]
IGNORED = -100

ACTIVATIONS = {
    "gelu": F.gelu, "relu": F.relu, "elu": F.elu, "sigmoid": torch.sigmoid, "silu": F.silu, "swish": F.silu,
    "leak": F.leaky_relu, "1+elu": lambda x: 1 + F.elu(x), "2+elu": lambda x: 2 + F.elu(x), "sine": torch.sin,
    "exp": lambda x: torch.exp(x - x.max(-1, keepdim=True).values.detach()),
}
EXTENDED = {"IDENTITY": "none", "ONE_PLUS_ELU": "1+elu", "TWO_PLUS_ELU": "2+elu"}


def identity(x):
    return x


def slopes(heads):
    """Base decay rates: ALiBi's rule."""
    def geometric(n):
        return [2 ** (-8 * (i + 1) / n) for i in range(n)]
    power = 2 ** int(math.log2(heads))
    return geometric(power) + geometric(2 * power)[::2][:heads - power]


class Model:
    """A model of the released code.

    config: the released keys, and for the paper's ablations the object `tnl`
    """

    def __init__(self, config, tied):
        self.vocabulary, self.width = config["vocab_size"], config["decoder_embed_dim"]
        self.layers, self.heads = config["decoder_layers"], config["decoder_attention_heads"]
        self.hidden = config["hidden_dim"]
        self.glu = self.width if config["glu_dim"] == -1 else config["glu_dim"]
        self.activation = ACTIVATIONS.get(config["linear_act_fun"], identity)
        self.lrpe = [bool(x) for x in config["linear_use_lrpe_list"][:self.layers]]
        self.scale = 1 if config["no_scale_embedding"] else math.sqrt(self.width)
        self.bias, self.padding, self.tied = config["bias"], config.get("pad_token_id", 0), tied
        extension = config.get("tnl", {})
        self.norm_type = extension.get("norm", "SRMSNORM" if config["norm_type"] == "simplermsnorm" else "LAYERNORM")
        name = extension.get("glu_activation", "IDENTITY")
        self.glu_activation = ACTIVATIONS.get(EXTENDED.get(name, name.lower()), identity)
        self.gated = extension.get("gate", "LINEAR") == "LINEAR"
        self.position = extension.get("position", "LRPE_DECAY")
        self.decay = extension.get("decay", "RELEASED")
        self.by_layer = extension.get("decay_temperature", "BY_LAYER") == "BY_LAYER"
        self.rates = torch.tensor([self.layer_rates(i) for i in range(self.layers)], dtype=torch.float64)
        self.p = {}

    def layer_rates(self, layer):
        if self.position == "LRPE" or self.decay == "NONE":
            return [0.0] * self.heads
        if self.decay == "PAPER":
            factor = 1 - layer / self.layers
            return [8 * h / self.heads * (factor if self.by_layer else 1) for h in range(self.heads)]
        factor = 1 - layer / max(1, self.layers - 1) + 1e-5  # a single layer: the released code divides by zero
        return [s * (factor if self.by_layer else 1) for s in slopes(self.heads)]

    def shapes(self):
        """Parameter names and shapes; of a tied head under the embedding's name."""
        d, D, g = self.width, self.hidden, self.glu
        out = {"model.embed_tokens.weight": (self.vocabulary, d)}

        def linear(name, rows, columns):
            out[name + ".weight"] = (rows, columns)
            if self.bias:
                out[name + ".bias"] = (rows,)

        def norm(name, channels):
            if self.norm_type != "SRMSNORM":
                out[name + ".weight"] = (channels,)
            if self.norm_type == "LAYERNORM":
                out[name + ".bias"] = (channels,)

        for i in range(self.layers):
            at = f"model.layers.{i}."
            norm(at + "token_norm", d)
            linear(at + "token_mixer.qkvu_proj", (4 if self.gated else 3) * D, d)
            if self.lrpe[i]:
                out[at + "token_mixer.lrpe.theta"] = (self.heads, 1, d // self.heads)
            norm(at + "token_mixer.norm", D)
            linear(at + "token_mixer.out_proj", d, D)
            norm(at + "channel_norm", d)
            linear(at + "channel_mixer.l1", g, d)
            linear(at + "channel_mixer.l2", g, d)
            linear(at + "channel_mixer.l3", d, g)
        norm("model.final_norm", d)
        if not self.tied:
            out["lm_head.weight"] = (self.vocabulary, d)
        return out

    def embed(self, ids):
        return F.embedding(ids, self.p["model.embed_tokens.weight"], padding_idx=self.padding) * self.scale

    def norm(self, name, x):
        if self.norm_type == "LAYERNORM":
            return F.layer_norm(x, x.shape[-1:], self.p[name + ".weight"], self.p[name + ".bias"], 1e-5)
        if self.norm_type == "RMSNORM":
            return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * self.p[name + ".weight"]
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    def linear(self, name, x):
        return F.linear(x, self.p[name + ".weight"], self.p.get(name + ".bias"))

    def lrpe_features(self, layer, x, positions):
        """(B, H, N, dh) -> (B, H, N, 2 dh), cosine half first."""
        angle = self.p[f"model.layers.{layer}.token_mixer.lrpe.theta"] * positions[:, None]
        return torch.cat([x * angle.cos(), x * angle.sin()], -1)

    def forward(self, ids, positions, attend, record=lambda name, x: None):
        """Logits (B, N, V) of tokens at positions (N); attend(layer, q, k, v) mixes them, all (B, H, N, ·)."""
        record("slope_rate", self.rates)
        x = self.embed(ids)
        record("act.embed", x)
        for i in range(self.layers):
            at, act = f"model.layers.{i}.", f"act.layers.{i}."
            h = self.norm(at + "token_norm", x)
            record(act + "token_norm", h)
            q, k, v, *gate = self.linear(at + "token_mixer.qkvu_proj", h).split(self.hidden, -1)
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
            q, k = self.activation(q), self.activation(k)
            if self.lrpe[i]:
                q, k = self.lrpe_features(i, q, positions), self.lrpe_features(i, k, positions)
                record(act + "lrpe_q", q)
                record(act + "lrpe_k", k)
            o = attend(i, q, k, v).transpose(1, 2).flatten(2)
            record(act + "attn", o)
            o = self.norm(at + "token_mixer.norm", o)
            record(act + "attn_norm", o)
            o = self.linear(at + "token_mixer.out_proj", o * gate[0] if self.gated else o)
            record(act + "token_mixer", o)
            x = x + o
            h = self.norm(at + "channel_norm", x)
            record(act + "channel_norm", h)
            a, b = self.linear(at + "channel_mixer.l1", h), self.linear(at + "channel_mixer.l2", h)
            o = self.linear(at + "channel_mixer.l3", self.glu_activation(a) * b)
            record(act + "channel_mixer", o)
            x = x + o
            record(act + "out", x)
        x = self.norm("model.final_norm", x)
        record("act.final_norm", x)
        return self.linear("model.embed_tokens" if self.tied else "lm_head", x)

    def training(self, ids, mask=None, record=lambda name, x: None):
        """All tokens at once: o_t = Σ_{s ≤ t} e^(-r (t - s)) (q_t · k_s) v_s; a masked v counts as zero."""
        n = ids.shape[1]
        distance = torch.arange(n, dtype=torch.float64)[:, None] - torch.arange(n, dtype=torch.float64)

        def attend(layer, q, k, v):
            rate = self.rates[layer][:, None, None]
            weight = torch.where(distance >= 0, torch.exp(-rate * distance.clamp(min=0)), 0.0)
            return q @ k.transpose(-1, -2) * weight @ (v if mask is None else v * mask[:, None, :, None])
        return self.forward(ids, torch.arange(n, dtype=torch.float64), attend, record)

    def inference(self, ids, mask=None, prompt=None):
        """Token by token: S = e^(-r) S + k vᵀ, o = Sᵀ q. Logits, states after the prompt and at the end, by layer."""
        states, after_prompt, logits = {}, None, []
        for t in range(ids.shape[1]):
            def attend(layer, q, k, v):
                v = v if mask is None else v * mask[:, None, t:t + 1, None]
                decayed = torch.exp(-self.rates[layer])[:, None, None] * states[layer] if layer in states else 0
                states[layer] = decayed + k.transpose(-1, -2) @ v
                return q @ states[layer]
            logits.append(self.forward(ids[:, t:t + 1], torch.tensor([t], dtype=torch.float64), attend))
            if t + 1 == prompt:
                after_prompt = dict(states)
        return torch.cat(logits, 1), after_prompt, states

    def outputs(self, ids, labels, prompt, mask=None):
        """Everything a golden file holds of a run."""
        out = {}

        def record(name, x):
            out[name] = x
            if x.requires_grad and name.startswith("act."):
                x.retain_grad()
        logits = self.training(ids, record=record)
        rows, targets = logits[:, :-1].reshape(-1, self.vocabulary), labels[:, 1:].reshape(-1)
        losses = F.cross_entropy(rows, targets, ignore_index=IGNORED, reduction="none")
        loss = F.cross_entropy(rows, targets, ignore_index=IGNORED)
        loss.backward()
        streams = ["act.embed"] + [f"act.layers.{i}.out" for i in range(self.layers)]
        out |= {"act_grad." + name[4:]: out[name].grad for name in streams}
        out |= {"grad." + name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in self.p.items()}
        out |= {"logits": logits, "token_losses": losses.reshape(len(ids), -1), "loss": loss}
        with torch.no_grad():
            out["infer.logits"], prefill, final = self.inference(ids, prompt=prompt)
            for i in range(self.layers):
                out[f"infer.kv_prefill.{i}"], out[f"infer.kv_final.{i}"] = prefill[i], final[i]
            if mask is not None:
                out["padded.logits"] = self.training(ids, mask)
                out["padded.infer_logits"] = self.inference(ids, mask)[0]
        return {name: x.detach() for name, x in out.items()}


def load(path):
    """Tensors (floating ones as float64) and metadata of a safetensors file."""
    data = Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    metadata = {k: json.loads(v) if v[:1] == "{" else v for k, v in header.pop("__metadata__").items()}
    types = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32, "I64": torch.int64}
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + size + x for x in entry["data_offsets"])
        raw = torch.frombuffer(bytearray(data[begin:end]), dtype=types[entry["dtype"]]) if end > begin \
            else torch.zeros(0, dtype=types[entry["dtype"]])
        tensors[name] = raw.reshape(entry["shape"]).to(torch.float64 if raw.is_floating_point() else torch.int64)
    return tensors, metadata


def save(path, tensors, config, info):
    """Floating tensors as float32, others as int64."""
    header = {"__metadata__": {"config": json.dumps(config), "info": json.dumps(info)}}
    data = b""
    for name, x in tensors.items():
        x = x.detach().to(torch.float32 if x.is_floating_point() else torch.int64).contiguous()
        raw = x.numpy().tobytes()
        header[name] = {"dtype": "F32" if x.is_floating_point() else "I64", "shape": list(x.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def tables(generator):
    """actfn.* on a grid and slopes.h*."""
    grid = torch.randn(3, 7, generator=generator, dtype=torch.float64).mul(3).float().double()
    out = {"actfn.input": grid, "actfn.none": grid}
    out |= {"actfn." + name: f(grid) for name, f in ACTIVATIONS.items()}
    return out | {f"slopes.h{h}": torch.tensor(slopes(h), dtype=torch.float64) for h in (1, 3, 5, 12, 31, 65, 100)}


def case(name, config, B=2, N=9, P=4, seed=1, tied=False, labels="random", padded=False, embedding_std=1.0,
         head_std=None, with_tables=False):
    """Tensors and metadata of one case with random weights that keep the size of what passes through them."""
    base = {"vocab_size": 29, "decoder_embed_dim": 24, "decoder_layers": 2, "decoder_attention_heads": 3,
            "hidden_dim": 24, "glu_dim": 20, "linear_use_lrpe_list": [1, 0], "linear_act_fun": "silu",
            "norm_type": "simplermsnorm", "no_scale_embedding": True, "bias": False, "pad_token_id": 0}
    config = {k: v for k, v in (base | config).items() if v != "absent"}
    model = Model(config, tied)
    g = torch.Generator().manual_seed(seed)
    for key, shape in model.shapes().items():
        x = torch.randn(shape, generator=g, dtype=torch.float64)
        if "norm" in key and key.endswith(".weight"):
            x = 1 + 0.2 * x
        elif key.endswith(".bias"):
            x = 0.2 * x
        elif key.endswith("theta"):
            flat = torch.arange(x.numel(), dtype=torch.float64).reshape(shape)
            x = 10000 ** (-2 * flat / model.width) * torch.exp(0.2 * x)
        elif "embed" in key:
            x = embedding_std * x
        else:
            x = x * (head_std if key.startswith("lm_head") and head_std else 1 / math.sqrt(shape[1]))
        model.p[key] = x.float().double().requires_grad_()
    ids = torch.randint(model.vocabulary, (B, N), generator=g)
    targets = ids if labels == "input_ids" else torch.randint(model.vocabulary, (B, N), generator=g)
    if labels == "some ignored":
        targets = torch.where(torch.rand(B, N, generator=g) < 0.4, IGNORED, targets)
    mask = (torch.rand(B, N, generator=g) < 0.6).long() if padded else None
    tensors = dict(model.p) | {"input_ids": ids, "labels": targets}
    tensors |= model.outputs(ids, targets, P, mask)
    if tied:
        tensors["lm_head.weight"] = model.p["model.embed_tokens.weight"]
    if padded:
        tensors["padded.attention_mask"] = mask
    if with_tables:
        tensors |= tables(g)
    info = {"case": name, "origin": "independent", "seed": seed, "B": B, "N": N, "P": P, "tied": tied,
            "labels": labels, "generator": f"golden-tests/generate/model.py {VERSION}", "torch": torch.__version__}
    return tensors, config, info


def random_case(name, seed):
    """A case of a configuration that the released code can run, or of an ablation of the paper."""
    r = random.Random(seed)
    heads = r.choice([1, 1, 2, 3, 4, 5, 6, 7, 8, 12])
    width = heads * r.choice([1, 2, 3, 4, 5, 7, 8, 11, 16] if heads < 8 else [1, 2, 3, 5])
    width = max(width, 2)
    layers = r.choice([1, 2, 2, 3, 4, 6])
    lrpe = [r.choice([0, 1]) for _ in range(layers + r.choice([0, 0, 2]))]
    hidden = width
    if r.random() < 0.3:
        lrpe, hidden = [0] * layers, heads * r.choice([2, 3, 5, 9])
    vocabulary = r.choice([3, 17, 32, 61, 127])
    config = {"vocab_size": vocabulary, "decoder_embed_dim": width, "decoder_layers": layers,
              "decoder_attention_heads": heads, "hidden_dim": hidden, "glu_dim": r.choice([-1, 1, 7, 16, 45]),
              "linear_use_lrpe_list": lrpe, "linear_act_fun": r.choice([*ACTIVATIONS, "none", "Silu"]),
              "norm_type": r.choice(["simplermsnorm", "simplermsnorm", "rmsnorm", "layernorm"]),
              "no_scale_embedding": r.random() < 0.5, "bias": r.random() < 0.4,
              "pad_token_id": r.choice([None, "absent", 1, vocabulary - 1])}
    if r.random() < 0.4:
        config["tnl"] = r.choice([{"norm": "RMSNORM"}, {"glu_activation": "GELU", "gate": "NONE"},
                                  {"glu_activation": "SILU", "norm": "RMSNORM"}, {"decay": "PAPER"},
                                  {"position": "LRPE"}, {"decay_temperature": "NONE", "glu_activation": "RELU"}])
    n = r.choice([2, 3, 5, 16, 17, 37, 65, 130])
    return case(name, config, B=r.choice([1, 2, 3]), N=n, P=r.choice([1, n - 1, n, r.randint(1, n)]), seed=seed,
                tied=r.random() < 0.4, labels=r.choice(["random", "input_ids", "some ignored"]),
                padded=r.random() < 0.5, embedding_std=r.choice([1, 1, 0.2, 1e-3]),
                head_std=r.choice([None, None, 5]), with_tables=r.random() < 0.2)


def check(path):
    """Largest error of a file's outputs, in units of the rounding of float32 and of 1e-12 of the largest entry."""
    tensors, metadata = load(path)
    info = metadata["info"]
    model = Model(metadata["config"], info["tied"])
    model.p = {name: tensors[name].requires_grad_() for name in model.shapes()}
    got = model.outputs(tensors["input_ids"], tensors["labels"], info["P"], tensors.get("padded.attention_mask"))
    for name, x in got.items():
        want = tensors[name].detach()
        bound = 2 ** -24 * want.abs() + 1e-12 * want.abs().max() + 1e-45
        yield name, ((x - want).abs() / bound).max().item()


CASES = {
    "one-head-odd": dict(
        config={"decoder_embed_dim": 7, "hidden_dim": 7, "decoder_attention_heads": 1, "linear_use_lrpe_list": [1, 1, 0],
                "linear_act_fun": "swish", "glu_dim": 5, "bias": True, "pad_token_id": "absent"},
        N=17, P=1, tied=True, labels="some ignored", with_tables=True),
    "layernorm-seven-heads": dict(
        config={"decoder_embed_dim": 35, "hidden_dim": 35, "decoder_attention_heads": 7, "norm_type": "layernorm",
                "bias": True, "linear_act_fun": "gelu", "no_scale_embedding": False, "pad_token_id": 28}, N=13, P=12,
        padded=True),
    "wide-attention-relu": dict(
        config={"hidden_dim": 40, "decoder_attention_heads": 5, "glu_dim": -1, "linear_use_lrpe_list": [0, 0],
                "linear_act_fun": "relu", "pad_token_id": None}, B=3, N=11, P=11, padded=True, head_std=10),
    "exp-four-layers": dict(
        config={"decoder_layers": 4, "linear_use_lrpe_list": [1, 0, 1, 0], "linear_act_fun": "exp"}, B=1, N=33, P=16,
        embedding_std=1e-3),
    "rmsnorm-glu-silu": dict(
        config={"norm_type": "rmsnorm", "tnl": {"norm": "RMSNORM", "glu_activation": "SILU", "gate": "NONE"},
                "linear_act_fun": "Silu", "decoder_layers": 1, "linear_use_lrpe_list": [1]}, N=2, P=1, tied=True),
}


def main(arguments):
    torch.set_default_dtype(torch.float64)
    if arguments[:1] == ["check"]:
        for path in arguments[1:]:
            ratios = sorted(check(path), key=lambda x: -x[1])
            print(path, len(ratios), "tensors, largest errors in roundings of float32:",
                  ", ".join(f"{name} {ratio:.3f}" for name, ratio in ratios[:3]))
            if not ratios[0][1] <= 1:
                sys.exit(1)
    elif arguments[:1] == ["random"]:
        seed = int(arguments[3]) if len(arguments) > 3 else 1
        for i in range(int(arguments[2])):
            name = f"random-{seed + i}"
            save(Path(arguments[1]) / (name + ".safetensors"), *random_case(name, seed + i))
    else:
        for name, settings in CASES.items():
            save(ROOT / "model" / (name + ".safetensors"), *case(name, **settings))


if __name__ == "__main__":
    main(sys.argv[1:])
