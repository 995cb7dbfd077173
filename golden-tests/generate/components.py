"""Golden cases of the leaf components, from their formulas in float64 NumPy: nothing of the Java code is used.

    python3 golden-tests/generate/components.py        writes golden-tests/<component>/*.safetensors

Every gradient is written down by hand and then checked against the forward, by complex steps (error 1e-15) or, where
a function has no complex form, by central differences. A case holds inputs and results under the names of SPEC.md;
integers are int32, everything else float64. Inputs are bfloat16 numbers (theta and decay rates float32), so that a
twin of any type reads exactly these inputs and may be compared with exactly these results.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np

VERSION = "1"
ROOT = Path(__file__).resolve().parents[1]


def write(component, case, tensors):
    """Writes golden-tests/<component>/<case>.safetensors."""
    header = {"__metadata__": {"origin": "independent", "component": component, "case": case,
                               "generator": "golden-tests/generate/components.py", "version": VERSION}}
    data = b""
    for name, values in tensors.items():
        values = np.asarray(values)
        dtype = "I32" if values.dtype.kind == "i" else "F64"
        raw = np.ascontiguousarray(values, dtype="<i4" if dtype == "I32" else "<f8").tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    folder = ROOT / component
    folder.mkdir(exist_ok=True)
    (folder / f"{case}.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def bf16(x):
    """The nearest bfloat16 numbers, as float64."""
    bits = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16 << 16).astype(np.uint32).view(np.float32).astype(float)


def random(seed):
    """Standard normal arrays by shape, rounded to bfloat16."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return lambda *shape: bf16(generator.standard_normal(shape))


def check(name, loss, x, gradient, complex_step=True):
    """Compares a gradient with numerical derivatives of loss(x), entry by entry."""
    x = np.array(x, dtype=complex if complex_step else float)
    numeric = np.zeros(x.shape)
    for i in np.ndindex(*x.shape):
        at = x[i]
        if complex_step:
            x[i] = at + 1e-30j
            numeric[i] = loss(x).imag / 1e-30
        else:
            h = 1e-3
            values = []
            for k in (-2, -1, 1, 2):
                x[i] = at + k * h
                values.append(loss(x))
            numeric[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        x[i] = at
    error = np.max(np.abs(numeric - gradient), initial=0)
    allowed = (1e-12 if complex_step else 1e-9) * max(1, np.max(np.abs(gradient), initial=0))
    assert error <= allowed, f"{name}: gradient off by {error}"


# SPEC 3.1: y = gate * norm(x)

def norms():
    def srms(x, weight, bias):
        return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-6)

    def rms(x, weight, bias):
        return weight * x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-5)

    def layer(x, weight, bias):
        centred = x - np.mean(x, axis=1, keepdims=True)
        return weight * centred / np.sqrt(np.mean(centred * centred, axis=1, keepdims=True) + 1e-5) + bias

    for case, norm in (("srmsnorm", srms), ("rmsnorm", rms), ("layernorm", layer)):
        normal = random(31)
        x = bf16(normal(5, 12) * [[1], [30], [1e-3], [1], [1]] + [[0], [0], [0], [0], [10]])
        dy, gate, residual = normal(5, 12), normal(5, 12), normal(5, 12)
        weight, bias = normal(12), normal(12)
        result = {"x": x, "weight": weight, "bias": bias, "gate": gate, "dy": dy, "residual": residual}
        for gated in (False, True):
            g = gate if gated else np.ones_like(x)
            dnorm = dy * g
            w = np.ones(12) if case == "srmsnorm" else weight
            eps = 1e-6 if case == "srmsnorm" else 1e-5
            mean = np.mean(x, axis=1, keepdims=True) if case == "layernorm" else 0
            r = 1 / np.sqrt(np.mean((x - mean) ** 2, axis=1, keepdims=True) + eps)
            xhat = (x - mean) * r
            dxhat = dnorm * w
            dx = r * (dxhat - xhat * np.mean(xhat * dxhat, axis=1, keepdims=True))
            if case == "layernorm":
                dx -= r * np.mean(dxhat, axis=1, keepdims=True)
            dweight, dbias, dgate = np.sum(dnorm * xhat, axis=0), np.sum(dnorm, axis=0), dy * norm(x, weight, bias)
            check(f"{case} dx", lambda z: np.sum(dy * g * norm(z, weight, bias)), x, dx)
            prefix = "gated." if gated else ""
            result[prefix + "y"] = g * norm(x, weight, bias)
            result[prefix + "dx"] = residual + dx
            if gated:
                check(f"{case} dgate", lambda z: np.sum(dy * z * norm(x, weight, bias)), gate, dgate)
                result[prefix + "dgate"] = dgate
            if case != "srmsnorm":
                check(f"{case} dweight", lambda z: np.sum(dy * g * norm(x, z, bias)), weight, dweight)
                result[prefix + "dweight"] = dweight
            if case == "layernorm":
                check(f"{case} dbias", lambda z: np.sum(dy * g * norm(x, weight, z)), bias, dbias)
                result[prefix + "dbias"] = dbias
        write("srmsnorm", case, result)


# SPEC 3.2

def lrpe():
    normal = random(32)
    T, H, d = 7, 3, 4
    positions = np.array([0, 1, 2, 3, 250, 1023, 4095], dtype=np.int32)
    theta = 10000.0 ** (-np.arange(H * d).reshape(H, d) / (H * d)) * (1 + 0.1 * normal(H, d))
    theta = theta.astype(np.float32).astype(float)
    x, dy = normal(T, H, d), normal(T, H, 2 * d)

    def forward(x, theta):
        phase = positions[:, None, None] * theta
        return np.concatenate([x * np.cos(phase), x * np.sin(phase)], axis=2)

    phase = positions[:, None, None] * theta
    da, db = dy[:, :, :d], dy[:, :, d:]
    dx = da * np.cos(phase) + db * np.sin(phase)
    dtheta = np.sum(positions[:, None, None] * x * (db * np.cos(phase) - da * np.sin(phase)), axis=0)
    check("lrpe dx", lambda z: np.sum(dy * forward(z, theta)), x, dx)
    check("lrpe dtheta", lambda z: np.sum(dy * forward(x, z)), theta, dtheta)
    write("lrpe", "lrpe", {"x": x, "theta": theta, "y": forward(x, theta), "dy": dy, "dx": dx, "dtheta": dtheta,
                           "positions": positions})


# SPEC 3.3, as the double sum over pairs of tokens: no recurrence, no chunks

def lightning():
    normal = random(33)
    H, dk, dv = 3, 4, 5
    lengths, slots = [9, 4], [1, 0]
    T = sum(lengths)
    rates = np.array([0.84, 0.0039, 0], dtype=np.float32).astype(float)
    q, k, v, dout = normal(T, H, dk), normal(T, H, dk), normal(T, H, dv), normal(T, H, dv)
    initial, dlast = normal(2, H, dk, dv), normal(2, H, dk, dv)
    for case, with_state, mask in (("whole", False, np.ones(T, dtype=np.int32)),
                                   ("packed", True, np.array([1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1], dtype=np.int32))):
        spans = [(0, T, 0)] if not with_state else [(0, 9, slots[0]), (9, T, slots[1])]
        start = initial if with_state else np.zeros_like(initial)
        dend = dlast if with_state else np.zeros_like(dlast)

        def forward(q, k, v, start):
            kind = np.result_type(q, k, v, start)
            o, last = np.zeros((T, H, dv), kind), np.zeros(start.shape, kind)
            for first, end, slot in spans:
                for h in range(H):
                    for t in range(first, end):
                        for s in range(first, t + 1):
                            o[t, h] += math.exp(-rates[h] * (t - s)) * (q[t, h] @ k[s, h]) * mask[s] * v[s, h]
                        o[t, h] += math.exp(-rates[h] * (t - first + 1)) * (q[t, h] @ start[slot, h])
                        last[slot, h] += math.exp(-rates[h] * (end - 1 - t)) * mask[t] * np.outer(k[t, h], v[t, h])
                    last[slot, h] += math.exp(-rates[h] * (end - first)) * start[slot, h]
            return o, last

        dq, dk_, dv_, dstart = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v), np.zeros_like(start)
        for first, end, slot in spans:
            for h in range(H):
                for t in range(first, end):
                    for s in range(first, t + 1):
                        decay = math.exp(-rates[h] * (t - s))
                        dq[t, h] += decay * (dout[t, h] @ v[s, h]) * mask[s] * k[s, h]
                        dk_[s, h] += decay * (dout[t, h] @ v[s, h]) * mask[s] * q[t, h]
                        dv_[s, h] += decay * (q[t, h] @ k[s, h]) * mask[s] * dout[t, h]
                    from_start = math.exp(-rates[h] * (t - first + 1))
                    dq[t, h] += from_start * (start[slot, h] @ dout[t, h])
                    dstart[slot, h] += from_start * np.outer(q[t, h], dout[t, h])
                    to_end = math.exp(-rates[h] * (end - 1 - t)) * mask[t]
                    dk_[t, h] += to_end * (dend[slot, h] @ v[t, h])
                    dv_[t, h] += to_end * (k[t, h] @ dend[slot, h])
                dstart[slot, h] += math.exp(-rates[h] * (end - first)) * dend[slot, h]

        def loss(q, k, v, start):
            o, last = forward(q, k, v, start)
            return np.sum(dout * o) + np.sum(dend * last)

        check("lightning dq", lambda z: loss(z, k, v, start), q, dq)
        check("lightning dk", lambda z: loss(q, z, v, start), k, dk_)
        check("lightning dv", lambda z: loss(q, k, z, start), v, dv_)
        o, last = forward(q, k, v, start)
        result = {"q": q, "k": k, "v": v, "rates": rates, "o": o, "dout": dout, "dq": dq, "dk": dk_, "dv": dv_}
        if with_state:
            check("lightning dinitial", lambda z: loss(q, k, v, z), start, dstart)
            result |= {"initial": start, "last": last, "dlast": dend, "dinitial": dstart,
                       "lengths": np.array(lengths, dtype=np.int32), "slots": np.array(slots, dtype=np.int32),
                       "mask": mask}
        write("lightning", case, result)


# SPEC 3.4

def linear():
    normal = random(34)
    x, w, b, residual, dy = normal(5, 7), normal(6, 7), normal(6), normal(5, 6), normal(5, 6)
    y = residual + b + x @ w.T
    dx, dw, db = dy @ w, dy.T @ x, np.sum(dy, axis=0)
    check("linear dx", lambda z: np.sum(dy * (residual + b + z @ w.T)), x, dx)
    check("linear dw", lambda z: np.sum(dy * (residual + b + x @ z.T)), w, dw)
    check("linear db", lambda z: np.sum(dy * (residual + z + x @ w.T)), b, db)
    write("linear", "linear", {"x": x, "w": w, "b": b, "residual": residual, "y": y, "dy": dy, "dx": dx, "dw": dw,
                               "db": db})


# SPEC 3.5: value and derivative by released name; at 0 the derivatives are PyTorch's

def activations():
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    erf = np.vectorize(math.erf)

    def gelu(x):
        return x * (1 + erf(x / math.sqrt(2))) / 2

    def elu(x):
        return np.where(x.real > 0, x, np.expm1(x))

    def elu_slope(x):
        return np.where(x > 0, 1, np.exp(x))

    def exp(x):
        return np.exp(x - np.max(x.real, axis=2, keepdims=True))

    functions = {
        "gelu": (gelu, lambda x: (1 + erf(x / math.sqrt(2))) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
        "relu": (lambda x: np.where(x.real > 0, x, 0), lambda x: np.where(x > 0, 1.0, 0.0)),
        "elu": (elu, elu_slope),
        "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
        "exp": (exp, exp),
        "leak": (lambda x: np.where(x.real > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01)),
        "1+elu": (lambda x: 1 + elu(x), elu_slope),
        "2+elu": (lambda x: 2 + elu(x), elu_slope),
        "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
        "sine": (np.sin, np.cos),
        "none": (lambda x: x, np.ones_like),
    }
    normal = random(35)
    x, dy = 2 * normal(3, 2, 6), normal(3, 2, 6)
    x[0, 0, 0], x[0, 0, 1] = 0, -12
    result = {"x": x, "dy": dy}
    for name, (value, slope) in functions.items():
        dx = slope(x) * dy
        check(f"activation {name}", lambda z: np.sum(dy * value(z)), x, dx, complex_step=name != "gelu")
        result |= {f"y.{name}": value(x), f"dx.{name}": dx}
    write("activation", "all", result)


# SPEC 3.6

def product():
    normal = random(36)
    a, b, dy = normal(3, 5), normal(3, 5), normal(3, 5)
    write("product", "product", {"a": a, "b": b, "y": a * b, "dy": dy, "da": dy * b, "db": dy * a})


# SPEC 3.7

def embedding():
    normal = random(37)
    table, dy, before, scale, padding = normal(6, 4), normal(10, 4), normal(6, 4), 2.0, 2
    ids = np.array([3, 0, 3, 2, 5, 3, 2, 1, 0, 4], dtype=np.int32)
    dtable = np.zeros_like(table)
    for t, i in enumerate(ids):
        dtable[i] += scale * dy[t]
    check("embedding dtable", lambda z: np.sum(dy * scale * z[ids]), table, dtable)
    dtable[padding] = 0
    write("embedding", "embedding", {"table": table, "scale": [scale], "y": scale * table[ids], "dy": dy,
                                     "dtable.before": before, "dtable": before + dtable, "ids": ids,
                                     "padding": np.array([padding], dtype=np.int32)})


# SPEC 3.8: 11 tokens of vocabulary in 14 columns

def loss():
    normal = random(38)
    logits = bf16(normal(6, 14) * [[1], [10], [4], [1], [1], [1]] + [[0], [0], [500], [0], [0], [0]])
    columns, ignore, scale = 11, -100, 0.25
    targets = np.array([10, 0, 3, ignore, 7, 4], dtype=np.int32)
    logits[4, 7] = 18  # a model that is nearly sure
    z = logits[:, :columns]
    m = np.max(z, axis=1)
    s = np.sum(np.exp(z - m[:, None]), axis=1)
    counts = targets != ignore
    rows, y = np.arange(6)[counts], targets[counts]
    target, losses, dlogits = np.zeros(6), np.zeros(6), np.zeros((6, 14))
    target[rows] = z[rows, y]
    for t in rows:  # ln s of what is left beside the maximum: keeps the digits of a tiny loss
        rest = np.sum(np.exp(np.delete(z[t], np.argmax(z[t])) - m[t]))
        losses[t] = math.log1p(rest) + (m[t] - target[t])
    dlogits[:, :columns] = scale * np.exp(z - m[:, None]) / s[:, None]
    dlogits[rows, y] -= scale
    dlogits[~counts] = 0

    def total(z):
        shifted = z - np.max(z.real, axis=1, keepdims=True)
        log_softmax = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
        return -scale * np.sum(log_softmax[rows, y])

    check("loss dlogits", total, z, dlogits[:, :columns])
    write("loss", "loss", {"logits": logits, "scale": [scale], "max": m, "sum": s, "target": target,
                           "losses": losses, "total": [np.sum(losses)], "dlogits": dlogits, "targets": targets,
                           "columns": np.array([columns], dtype=np.int32)})


# SPEC 3.9: three updates; the gradient norm of the first

def adamw():
    normal = random(39)
    shape, steps = (3, 5), 3
    beta1, beta2, epsilon, weight_decay = 0.9, 0.95, 1e-8, 0.1
    limit = 1.5
    w, m, v = normal(*shape), np.zeros(shape), np.zeros(shape)
    result = {"constants": [beta1, beta2, epsilon, weight_decay], "limit": [limit], "w.0": w}
    for t in range(1, steps + 1):
        g, rate = normal(*shape), 0.01 * t
        norm = math.sqrt(np.sum(g * g))
        clip = min(1, limit / (norm + 1e-6))
        result |= {f"g.{t}": g, f"norm.{t}": [norm], f"clip.{t}": [clip], f"rate.{t}": [rate]}
        g = clip * g
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        decayed = w - rate * weight_decay * w
        w = decayed - rate * (m / (1 - beta1 ** t)) / (np.sqrt(v / (1 - beta2 ** t)) + epsilon)
        result |= {f"w.{t}": w, f"m.{t}": m, f"v.{t}": v}
    write("adamw", "three-updates", result)


# SPEC 3.10: (layers, heads) rates

def decay():
    def alibi(heads):
        if heads & (heads - 1) == 0:
            return [2 ** (-8 * (h + 1) / heads) for h in range(heads)]
        power = 1 << (heads.bit_length() - 1)
        return alibi(power) + alibi(2 * power)[::2][:heads - power]

    result = {}
    for heads, layers in ((1, 1), (4, 3), (6, 2), (8, 24), (20, 5), (40, 2)):
        name = f"{heads}.{layers}"
        slopes = np.array(alibi(heads))
        factors = np.array([1 - l / max(layers - 1, 1) + 1e-5 for l in range(layers)])
        result[f"released.{name}"] = factors[:, None] * slopes
        result[f"released.{name}.no-temperature"] = np.ones((layers, 1)) * slopes
        eq10 = [[8 * h / heads * (1 - l / layers) for h in range(heads)] for l in range(layers)]
        result[f"paper.{name}"] = np.array(eq10)
    write("decay", "rates", result)


if __name__ == "__main__":
    for component in (norms, lrpe, lightning, linear, activations, product, embedding, loss, adamw, decay):
        component()
    print("gradients agree with numerical derivatives; files written under", ROOT.name)
