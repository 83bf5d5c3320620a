#!/usr/bin/env python3
"""Recomputes the published study's figures from its saved models, with numpy alone.

    python3 bench/recompute.py STUDY_DIR MNIST_DIR

STUDY_DIR is what `glassnet study published` left (its results.json and runs/),
MNIST_DIR holds the four MNIST files, plain or .gz. Nothing of glassnet is used:
the split is drawn by numpy's own generator, the models are read as the
safetensors format describes, and the forward pass is written out here. The exit
code is 1 when an accuracy differs at all, a cost by more than 1e-9 relative, or
a sum of weights by more than 1e-10 relative.
"""
import gzip
import json
import pathlib
import struct
import sys

import numpy as np


def idx(folder, name):
    path = pathlib.Path(folder) / name
    raw = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(name + ".gz").read_bytes())
    dims = struct.unpack(f">{raw[3]}I", raw[4:4 + 4 * raw[3]])
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(dims)


def safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    kinds = {"F32": np.float32, "F64": np.float64}
    return {
        name: np.frombuffer(raw[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]], kinds[t["dtype"]])
        .reshape(t["shape"]).astype(np.float64)
        for name, t in header.items()
    }


def dense_layers(tensors):
    positions = sorted(int(n.split(".")[0]) for n in tensors if n.endswith("dense.weight"))
    return [(tensors[f"{p}.dense.weight"], tensors[f"{p}.dense.bias"]) for p in positions]


def forward(x, layers, normalise):
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        if i < len(layers) - 1:
            x = np.maximum(x, 0)
            if normalise:
                x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-8)
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def main(study, mnist):
    results = json.loads((pathlib.Path(study) / "results.json").read_text())
    images = [(idx(mnist, f"{part}-images-idx3-ubyte").reshape(n, 784) / 255).astype(np.float32).astype(np.float64)
              for part, n in (("train", 60000), ("t10k", 10000))]
    labels = [idx(mnist, f"{part}-labels-idx1-ubyte") for part in ("train", "t10k")]

    # One stream of numpy's legacy generator; the experiments drew in this order.
    np.random.seed(results["experiments"][0]["runs"][0]["seed"])
    orders = {}
    for name in ("exp2", "exp3", "exp1"):
        orders[name] = np.random.permutation(60000)
        for fan_in, units in ((784, 20), (20, 7), (7, 5), (5, 10)):
            np.random.randn(units, fan_in)

    bad = 0
    for e in results["experiments"]:
        run = e["runs"][0]
        layers = dense_layers(safetensors(pathlib.Path(study) / run["dir"] / "model.safetensors"))
        parts = {
            "train": (images[0][orders[e["name"]][12000:]], labels[0][orders[e["name"]][12000:]]),
            "val": (images[0][orders[e["name"]][:12000]], labels[0][orders[e["name"]][:12000]]),
            "test": (images[1], labels[1]),
        }
        penalty = e["l2"] * sum((w @ w.T).sum() for w, _ in layers)
        rows = [("sum of weights", run["sum_of_weights"], sum(w.sum() for w, _ in layers), 1e-10)]
        for part, (x, y) in parts.items():
            p = forward(x, layers, e["normalisation"] == "published-per-example")
            rows.append((f"{part} accuracy", run[f"{part}_accuracy"], float((p.argmax(axis=1) == y).mean()), 0.0))
            cost = float(-np.log(p[np.arange(len(y)), y] + 1e-8).mean())
            if part == "test":
                rows.append(("test cost", run["test_cost"], cost, 1e-9))
            # The training runs on after the last look unless that look stopped it,
            # so only then is the cost of the last look the model's own.
            if part == "val" and run["stopped"] == "criterion":
                rows.append(("val cost", run["val_cost"], cost + penalty, 1e-9))
            if part == "train" and run["stopped"] == "criterion":
                print(f"{e['name']} train cost over the whole set (the table prints the last batch's): {cost:.6f}")
        for what, ours, theirs, tolerance in rows:
            equal = abs(ours - theirs) <= tolerance * abs(theirs)
            bad += not equal
            print(f"{e['name']} {what}: glassnet {ours!r}, numpy {theirs!r}: {'equal' if equal else 'DIFFERENT'}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
