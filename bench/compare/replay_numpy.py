"""The published study replayed as idiomatic numpy would do it: float64, one column per
example. Prints its table, one row of comma-separated figures per experiment, as
results.csv of `glassnet study published` has them (seconds aside).

    python3 replay_numpy.py MNIST_DIR [EPOCHS]
"""

import gzip
import math
import os
import sys

import numpy as np

LAYERS = [784, 20, 7, 5, 10]
BATCH, RATE, LOOK, STOP = 128, 0.009, 100, 1e-5


def read(folder, name, offset):
    with gzip.open(os.path.join(folder, name + ".gz")) as f:
        return np.frombuffer(f.read(), np.uint8, offset=offset)


def columns(images):
    return (images.reshape(-1, 784) / 255).astype(np.float32).astype(np.float64).T


def forward(x, weights, biases, norm):
    """Returns the input and the activation of every layer."""
    a, activations, relus = x, [x], []
    for l, (w, b) in enumerate(zip(weights, biases)):
        z = w @ a + b
        if l == len(weights) - 1:
            e = np.exp(z - z.max(axis=0))
            a = e / e.sum(axis=0)
        else:
            a = np.maximum(z, 0)
            relus.append(a > 0)
            if norm:  # along the wrong axis, as published
                a = (a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + 1e-8)
        activations.append(a)
    return activations, relus


def cost(p, labels, weights, penalty):
    data = -np.log(p[labels, np.arange(len(labels))] + 1e-8).mean()
    return data + penalty * sum((w.T @ w).sum() for w in weights) if penalty else data


def experiment(random, images, labels, test, test_labels, norm, penalty, epochs):
    order = random.permutation(60000)
    weights = [random.standard_normal((o, i)) * np.sqrt(2 / i) for i, o in zip(LAYERS, LAYERS[1:])]
    biases = [np.zeros((o, 1)) for o in LAYERS[1:]]
    x_val, y_val = images[:, order[:12000]], labels[order[:12000]]
    x_train, y_train = images[:, order[12000:]], labels[order[12000:]]
    hot = np.eye(10)[y_train].T
    batches = x_train.shape[1] // BATCH

    last = math.inf
    for epoch in range(1, epochs + 1):
        for k in range(batches):
            here = slice(k * BATCH, (k + 1) * BATCH)
            a, relus = forward(x_train[:, here], weights, biases, norm)
            look = (k + 1) % LOOK == 0
            if look:
                train_cost = cost(a[-1], y_train[here], weights, penalty)
            dz = a[-1] - hot[:, here]
            gradients = []
            for l in range(len(weights) - 1, -1, -1):
                gradients.append((dz @ a[l].T / BATCH, dz.mean(axis=1, keepdims=True)))
                if l > 0:
                    dz = weights[l].T @ dz * relus[l - 1]
            for l, (dw, db) in enumerate(reversed(gradients)):
                weights[l] -= RATE * (dw + penalty * weights[l] if penalty else dw)
                biases[l] -= RATE * db
            if look:
                val_cost = cost(forward(x_val, weights, biases, norm)[0][-1], y_val, weights, penalty)
                if abs(val_cost - last) < STOP:
                    break
                last = val_cost
        else:
            continue
        break

    def accuracy(x, y):
        return (forward(x, weights, biases, norm)[0][-1].argmax(axis=0) == y).mean()

    steps = (epoch - 1) * batches + k + 1
    rounded = [f"{accuracy(x, y):.3f}" for x, y in ((x_train, y_train), (x_val, y_val), (test, test_labels))]
    cut = [f"{math.floor(c * 1000) / 1000:.3f}" for c in (train_cost, val_cost)]
    return ",".join([str(norm), str(penalty > 0), str(epoch), str(steps), *rounded, *cut])


def main():
    folder, epochs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 250
    images = columns(read(folder, "train-images-idx3-ubyte", 16))
    labels = read(folder, "train-labels-idx1-ubyte", 8)
    test = columns(read(folder, "t10k-images-idx3-ubyte", 16))
    test_labels = read(folder, "t10k-labels-idx1-ubyte", 8)
    random = np.random.RandomState(42)
    rows = {}
    for row, norm, penalty in ((2, True, 0), (3, False, 1e-8), (1, False, 0)):
        rows[row] = experiment(random, images, labels, test, test_labels, norm, penalty, epochs)
    for row in sorted(rows):
        print(f"exp{row},{rows[row]}")


if __name__ == "__main__":
    main()
