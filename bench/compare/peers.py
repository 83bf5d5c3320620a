"""The peers written in Python: PyTorch, numpy and scikit-learn, each a class with the
methods of the interface peer (peer.go), which serve() lets the runner command.

    python3 peers.py --peer torch-eager --threads 1 --mnist DIR --work DIR
"""

import argparse
import gzip
import json
import os
import sys
import time

import numpy as np

RATE = 0.1


def read(folder):
    """MNIST's training images, divided by 255, and labels."""
    with gzip.open(os.path.join(folder, "train-images-idx3-ubyte.gz")) as f:
        images = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(os.path.join(folder, "train-labels-idx1-ubyte.gz")) as f:
        labels = np.frombuffer(f.read(), np.uint8, offset=8)
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


class Task:
    """What every peer works on: images in their shuffled order, weights, batches."""

    images = None  # once read

    def __init__(self, mnist, work, net, batch):
        if Task.images is None:
            Task.images = read(mnist)
        self.x, self.labels = Task.images
        self.order = np.fromfile(os.path.join(work, "order"), np.int32).astype(np.int64)
        self.widths = [int(n) for n in net.split("-")]
        self.batch = batch
        flat = np.fromfile(os.path.join(work, net + ".weights"), np.float32)
        self.w, self.b = [], []
        for i, o in zip(self.widths, self.widths[1:]):
            self.w.append(flat[: i * o].reshape(i, o).copy())
            self.b.append(flat[i * o : i * o + o].copy())
            flat = flat[i * o + o :]
        self.hot = np.zeros((len(self.labels), self.widths[-1]), np.float32)
        self.hot[np.arange(len(self.labels)), self.labels] = 1
        self.next = 0

    def take(self, batches=1):
        """The indices of the next batches, for ever."""
        count = len(self.order) // self.batch
        at = self.next % count
        if at + batches > count:
            at = self.next = 0
        self.next += batches
        return self.order[at * self.batch : (at + batches) * self.batch]


class TorchEager:
    """The usual form: nn.Sequential, CrossEntropyLoss, SGD, zero_grad, backward, step."""

    def __init__(self, threads):
        import torch

        self.torch = torch
        torch.set_num_threads(1)

    def prepare(self, t):
        torch, nn = self.torch, self.torch.nn
        self.t = t
        self.x, self.y = torch.from_numpy(t.x), torch.from_numpy(t.labels)
        layers = []
        for i, (w, b) in enumerate(zip(t.w, t.b)):
            dense = nn.Linear(*w.shape)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(w.T))
                dense.bias.copy_(torch.from_numpy(b))
            layers += [dense] + ([nn.ReLU()] if i < len(t.w) - 1 else [])
        self.model = nn.Sequential(*layers)
        self.loss = nn.CrossEntropyLoss()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=RATE)
        return f"PyTorch {torch.__version__}, float32, nn.Sequential, autograd, torch.optim.SGD"

    def step(self, n):
        for _ in range(n):
            index = self.torch.from_numpy(self.t.take())
            x, y = self.x[index], self.y[index]
            self.optimiser.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimiser.step()
            cost = loss.item()
        return cost

    def parameters(self):
        return [p.detach().numpy().T for p in self.model.parameters()]

    def predict(self, batch, n):
        torch = self.torch
        self.model.eval()
        with torch.inference_mode():
            for k in range(n):
                lo = k * batch % (len(self.x) - batch)
                p = torch.softmax(self.model(self.x[lo : lo + batch]), 1)
        self.model.train()
        return p.numpy()


class TorchFrozen(TorchEager):
    """Prediction with a traced, frozen and optimised module."""

    def predict(self, batch, n):
        torch = self.torch
        if getattr(self, "frozen_for", None) != batch:
            module = torch.nn.Sequential(self.model, torch.nn.Softmax(1)).eval()
            with torch.inference_mode():
                traced = torch.jit.trace(module, self.x[:batch])
            self.frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))
            self.frozen_for = batch
        with torch.inference_mode():
            for k in range(n):
                lo = k * batch % (len(self.x) - batch)
                p = self.frozen(self.x[lo : lo + batch])
        return p.numpy()


class TorchHand:
    """The fastest eager form found: backward by hand, no autograd, every buffer made
    once, weights updated inside the product that finds their gradient."""

    form = "backward by hand, buffers made once"

    def __init__(self, threads):
        import torch

        self.torch = torch
        torch.set_num_threads(1)

    def prepare(self, t):
        torch = self.torch
        self.t = t
        self.x, self.hot = torch.from_numpy(t.x), torch.from_numpy(t.hot)
        self.w = [torch.from_numpy(w) for w in t.w]
        self.b = [torch.from_numpy(b) for b in t.b]
        self.order = torch.from_numpy(t.order)
        self.index = list(self.order[: len(t.order) // t.batch * t.batch].split(t.batch))
        empty = lambda n: torch.empty(t.batch, n)
        self.a = [empty(n) for n in t.widths]
        self.g = [empty(n) for n in t.widths]
        self.wt = [w.t() for w in self.w]
        self.at = [a.t() for a in self.a]
        self.gt = [g.t() for g in self.g]
        self.ones = torch.ones(t.batch)
        self.batch_hot, self.log = empty(t.widths[-1]), empty(t.widths[-1])
        self.next = 0
        return f"PyTorch {torch.__version__}, float32, {self.form}"

    def step(self, n):
        torch, last = self.torch, len(self.w) - 1
        w, b, a, g = self.w, self.b, self.a, self.g
        with torch.inference_mode():
            for _ in range(n):
                index = self.index[self.next % len(self.index)]
                self.next += 1
                torch.index_select(self.x, 0, index, out=a[0])
                torch.index_select(self.hot, 0, index, out=self.batch_hot)
                for l in range(last):
                    torch.addmm(b[l], a[l], w[l], out=a[l + 1]).relu_()
                torch.addmm(b[last], a[last], w[last], out=a[last + 1])
                torch.log_softmax(a[last + 1], 1, out=self.log)
                cost = torch.dot(self.log.view(-1), self.batch_hot.view(-1))
                torch.exp(self.log, out=g[last + 1])
                g[last + 1].sub_(self.batch_hot)
                for l in range(last, -1, -1):
                    if l > 0:
                        torch.mm(g[l + 1], self.wt[l], out=g[l])
                        torch.ops.aten.threshold_backward(g[l], a[l], 0, grad_input=g[l])
                    w[l].addmm_(self.at[l], g[l + 1], alpha=-RATE / self.t.batch)
                    b[l].addmv_(self.gt[l + 1], self.ones, alpha=-RATE / self.t.batch)
        return -cost.item() / self.t.batch

    def parameters(self):
        return [p.numpy() for pair in zip(self.w, self.b) for p in pair]

    def predict(self, batch, n):
        torch = self.torch
        out = [torch.empty(batch, k) for k in self.t.widths[1:]]
        last = len(out) - 1
        with torch.inference_mode():
            for k in range(n):
                lo = k * batch % (len(self.x) - batch)
                a = self.x[lo : lo + batch]
                for l in range(last):
                    a = torch.addmm(self.b[l], a, self.w[l], out=out[l]).relu_()
                p = torch.softmax(torch.addmm(self.b[last], a, self.w[last], out=out[last]), 1)
        return p.numpy()


class TorchScript(TorchHand):
    """TorchHand's step compiled by TorchScript, which leaves out the interpreter."""

    form = "backward by hand, buffers made once, TorchScript"

    def prepare(self, t):
        from typing import List

        from torch import Tensor

        what = super().prepare(t)
        torch = self.torch

        def steps(x: Tensor, hot: Tensor, index: List[Tensor], w: List[Tensor], b: List[Tensor],
                  a: List[Tensor], g: List[Tensor], wt: List[Tensor], at: List[Tensor], gt: List[Tensor],
                  ones: Tensor, batch_hot: Tensor, log: Tensor, alpha: float, at_batch: int, n: int) -> Tensor:
            last = len(w) - 1
            cost = ones[0]
            for k in range(n):
                i = index[(at_batch + k) % len(index)]
                torch.index_select(x, 0, i, out=a[0])
                torch.index_select(hot, 0, i, out=batch_hot)
                for l in range(last):
                    torch.addmm(b[l], a[l], w[l], out=a[l + 1])
                    a[l + 1].relu_()
                torch.addmm(b[last], a[last], w[last], out=a[last + 1])
                torch.log_softmax(a[last + 1], 1, out=log)
                cost = torch.dot(log.view(-1), batch_hot.view(-1))
                torch.exp(log, out=g[last + 1])
                g[last + 1].sub_(batch_hot)
                for j in range(last + 1):
                    l = last - j
                    if l > 0:
                        torch.mm(g[l + 1], wt[l], out=g[l])
                        torch.ops.aten.threshold_backward(g[l], a[l], 0, grad_input=g[l])
                    w[l].addmm_(at[l], g[l + 1], alpha=alpha)
                    b[l].addmv_(gt[l + 1], ones, alpha=alpha)
            return cost

        # The annotations are names of this function, which TorchScript looks up in
        # the module.
        globals().update(torch=torch, Tensor=Tensor, List=List)
        self.steps = torch.jit.script(steps)
        return what

    def step(self, n):
        with self.torch.inference_mode():
            cost = self.steps(self.x, self.hot, self.index, self.w, self.b, self.a, self.g, self.wt, self.at,
                              self.gt, self.ones, self.batch_hot, self.log, -RATE / self.t.batch, self.next, n)
        self.next += n
        return -cost.item() / self.t.batch


class NumpyBest:
    """float32, every buffer made once."""

    def __init__(self, threads):
        self.factors = {}

    def prepare(self, t):
        self.t = t
        empty = lambda n: np.empty((t.batch, n), np.float32)
        self.a = [empty(n) for n in t.widths]
        self.g = [empty(n) for n in t.widths]
        self.dw = [np.empty_like(w) for w in t.w]
        return f"numpy {np.__version__}, float32, buffers made once"

    def step(self, n):
        t, a, g, last = self.t, self.a, self.g, len(self.t.w) - 1
        for _ in range(n):
            index = t.take()
            np.take(t.x, index, axis=0, out=a[0], mode="clip")
            hot = t.hot[index]
            for l in range(last + 1):
                np.matmul(a[l], t.w[l], out=a[l + 1])
                a[l + 1] += t.b[l]
                if l < last:
                    np.maximum(a[l + 1], 0, out=a[l + 1])
            z, d = a[last + 1], g[last + 1]
            z -= z.max(1, keepdims=True)
            np.exp(z, out=d)
            total = d.sum(1, keepdims=True)
            cost = (np.log(total).sum() - np.vdot(z, hot)) / t.batch
            d /= total
            d -= hot
            d *= np.float32(RATE / t.batch)  # the rate here, once, not on every gradient
            for l in range(last, -1, -1):
                if l > 0:
                    np.matmul(g[l + 1], t.w[l].T, out=g[l])
                    g[l] *= a[l] > 0
                np.matmul(a[l].T, g[l + 1], out=self.dw[l])
                t.w[l] -= self.dw[l]
                t.b[l] -= g[l + 1].sum(0)
        return float(cost)

    def parameters(self):
        return [p for pair in zip(self.t.w, self.t.b) for p in pair]

    def predict(self, batch, n):
        t = self.t
        out = [np.empty((batch, k), np.float32) for k in t.widths[1:]]
        last = len(out) - 1
        for k in range(n):
            lo = k * batch % (len(t.x) - batch)
            a = t.x[lo : lo + batch]
            for l in range(last + 1):
                a = np.matmul(a, t.w[l], out=out[l])
                a += t.b[l]
                if l < last:
                    np.maximum(a, 0, out=a)
            a -= a.max(1, keepdims=True)
            np.exp(a, out=a)
            a /= a.sum(1, keepdims=True)
        return a

    def product(self, kind, m, k, n, repeats):
        key = (m, k, n)
        if key not in self.factors:
            draw = lambda *shape: np.random.default_rng(1).random(shape, np.float32) - np.float32(0.5)
            empty = lambda *shape: np.empty(shape, np.float32)
            self.factors = {key: (draw(m, k), draw(k, n), draw(m, n), empty(m, n), empty(k, n), empty(m, k))}
        x, w, g, y, dw, dx = self.factors[key]
        left, right, out = {"x·w": (x, w, y), "xᵀ·g": (x.T, g, dw), "g·wᵀ": (g, w.T, dx)}[kind]
        for _ in range(repeats):
            np.matmul(left, right, out=out)


class NumpyNotebook:
    """As a notebook writes it: float64, one column per example, new arrays everywhere."""

    def __init__(self, threads):
        pass

    def prepare(self, t):
        self.t = t
        self.x = t.x.astype(np.float64)
        self.hot = t.hot.astype(np.float64)
        self.w = [w.T.astype(np.float64) for w in t.w]
        self.b = [b[:, None].astype(np.float64) for b in t.b]
        return f"numpy {np.__version__}, float64, notebook style"

    def step(self, n):
        for _ in range(n):
            index = self.t.take()
            x, y = self.x[index].T, self.hot[index].T
            m = x.shape[1]
            activations = [x]
            for l, (w, b) in enumerate(zip(self.w, self.b)):
                z = np.dot(w, activations[-1]) + b
                if l < len(self.w) - 1:
                    activations.append(np.maximum(z, 0))
                else:
                    e = np.exp(z - np.max(z, axis=0))
                    activations.append(e / np.sum(e, axis=0))
            p = activations[-1]
            cost = -np.sum(y * np.log(p + 1e-8)) / m
            dz = p - y
            grads = []
            for l in range(len(self.w) - 1, -1, -1):
                a = activations[l]
                grads.append((np.dot(dz, a.T) / m, np.sum(dz, axis=1, keepdims=True) / m))
                if l > 0:
                    dz = np.dot(self.w[l].T, dz) * (a > 0)
            for l, (dw, db) in enumerate(reversed(grads)):
                self.w[l] = self.w[l] - RATE * dw
                self.b[l] = self.b[l] - RATE * db
        return float(cost)

    def parameters(self):
        return [p.T for pair in zip(self.w, self.b) for p in pair]


class Sklearn:
    """MLPClassifier.partial_fit over as many batches as asked for."""

    def __init__(self, threads):
        pass

    def prepare(self, t):
        import sklearn
        from sklearn.neural_network import MLPClassifier

        self.t = t
        self.net = MLPClassifier(
            t.widths[1:-1], solver="sgd", learning_rate_init=RATE, momentum=0, nesterovs_momentum=False,
            alpha=0, batch_size=t.batch, shuffle=False)
        # The first call makes the weights, which ours then replace.
        self.net.partial_fit(t.x[: t.batch], t.labels[: t.batch], classes=np.arange(t.widths[-1]))
        for own, given in zip(self.net.coefs_ + self.net.intercepts_, t.w + t.b):
            own[...] = given
        return f"scikit-learn {sklearn.__version__}, MLPClassifier, {self.net.coefs_[0].dtype}"

    def step(self, n):
        done = 0
        while done < n:
            now = min(n - done, len(self.t.order) // self.t.batch)
            index = self.t.take(now)
            self.net.partial_fit(self.t.x[index], self.t.labels[index])
            done += now
        return self.net.loss_

    def parameters(self):
        return [p for pair in zip(self.net.coefs_, self.net.intercepts_) for p in pair]


PEERS = {
    "torch-eager": TorchEager, "torch-frozen": TorchFrozen, "torch-hand": TorchHand, "torch-script": TorchScript,
    "numpy-best": NumpyBest, "numpy-notebook": NumpyNotebook, "sklearn": Sklearn,
}


def obey(peer, arguments, words):
    def timed(n, f):
        f(n // 10 + 1)
        start = time.perf_counter()
        result = f(n)
        return time.perf_counter() - start, result

    command, words = words[0], words[1:]
    if command == "prepare":
        return {"what": peer.prepare(Task(arguments.mnist, arguments.work, words[0], int(words[1])))}
    if command == "check":
        cost = peer.step(1)
        numbers = peer.parameters()
        if hasattr(peer, "predict"):
            numbers = numbers + [peer.predict(16, 1)]
        with open(words[0], "wb") as f:
            for p in numbers:
                np.ascontiguousarray(p, np.float32).tofile(f)
        return {"cost": float(cost)}
    if command == "step":
        seconds, cost = timed(int(words[0]), peer.step)
        return {"seconds": seconds, "cost": float(cost)}
    if command == "predict":
        batch, n = map(int, words)
        return {"seconds": timed(n, lambda n: peer.predict(batch, n))[0]}
    if command == "product":
        m, k, n, repeats = map(int, words[1:])
        return {"seconds": timed(repeats, lambda r: peer.product(words[0], m, k, n, r))[0]}
    raise ValueError(f"unknown command {command}")


def serve():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=PEERS, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--mnist", required=True)
    parser.add_argument("--work", required=True)
    arguments = parser.parse_args()
    answers, sys.stdout = sys.stdout, sys.stderr
    peer = PEERS[arguments.peer](arguments.threads)
    for line in sys.stdin:
        if line.strip() == "quit":
            break
        if line.startswith("prepare"):
            peer = PEERS[arguments.peer](arguments.threads)  # nothing is left of the task before
        try:
            answer = obey(peer, arguments, line.split())
        except Exception as error:  # the runner reports it and goes on without this peer
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
