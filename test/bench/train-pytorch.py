"""The three models of `npm run bench train` in PyTorch, eager, on the CPU.

The first line on standard input is the training, as train-shapes.ts writes it. Every other line, {"steps": N}, is
answered with the milliseconds of N steps and the most memory the process has had.
"""

import json
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Bag(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.table = nn.EmbeddingBag(sizes["rows"], sizes["width"], mode="sum", sparse=sizes["sparse"])
        self.head = nn.Linear(sizes["width"], sizes["classes"])
        self.rate = sizes["dropout"]

    def forward(self, batch):
        weights = F.dropout(batch["weights"], self.rate, self.training)
        return self.head(self.table(batch["rows"], batch["offsets"], per_sample_weights=weights))


class Layer(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        width = sizes["width"]
        self.heads = sizes["heads"]
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.intermediate = nn.Linear(width, sizes["feed_forward"])
        self.output = nn.Linear(sizes["feed_forward"], width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-12) for _ in range(2))
        self.dropout = nn.Dropout(sizes["dropout"])

    def forward(self, x, mask):
        batch, length, width = x.shape

        def split(linear):
            return linear(x).view(batch, length, self.heads, -1).transpose(1, 2)

        attended = F.scaled_dot_product_attention(split(self.query), split(self.key), split(self.value), attn_mask=mask)
        attended = self.mixed(attended.transpose(1, 2).reshape(batch, length, width))
        x = self.norms[0](x + self.dropout(attended))
        hidden = F.gelu(self.intermediate(x))
        return self.norms[1](x + self.dropout(self.output(hidden)))


class Encoder(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        width = sizes["width"]
        self.tokens = nn.Embedding(sizes["vocabulary"], width)
        self.positions = nn.Embedding(sizes["positions"], width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(sizes["dropout"])
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes["layers"]))
        self.head = nn.Linear(width, sizes["classes"])

    def forward(self, batch):
        places = torch.arange(batch["tokens"].shape[1])
        x = self.dropout(self.norm(self.tokens(batch["tokens"]) + self.positions(places)))
        mask = batch["mask"]
        added = ((1.0 - mask) * -1e9)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, added)
        shares = mask / mask.sum(1, keepdim=True)
        return self.head((shares[:, None, :] @ x).squeeze(1))


def bag_batches(sizes):
    for lengths, rows, labels in zip(sizes["lengths"], sizes["batches"], sizes["labels"], strict=True):
        lengths = torch.tensor(lengths)
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]])
        weights = torch.repeat_interleave(lengths.to(torch.float32).rsqrt(), lengths)
        yield {"rows": torch.tensor(rows), "offsets": offsets, "weights": weights, "labels": torch.tensor(labels)}


def encoder_batches(sizes):
    for tokens, lengths, labels in zip(sizes["batches"], sizes["lengths"], sizes["labels"], strict=True):
        tokens = torch.tensor(tokens).view(len(lengths), -1)
        mask = (torch.arange(tokens.shape[1])[None, :] < torch.tensor(lengths)[:, None]).to(torch.float32)
        yield {"tokens": tokens, "mask": mask, "labels": torch.tensor(labels)}


class Training:
    def __init__(self, sizes):
        torch.manual_seed(1)
        torch.set_num_threads(sizes["threads"])
        is_bag = sizes["open"] == "bag"
        self.model = (Bag if is_bag else Encoder)(sizes)
        self.batches = list((bag_batches if is_bag else encoder_batches)(sizes))
        self.smoothing = sizes["label_smoothing"]
        if is_bag and sizes["sparse"]:
            head = torch.optim.AdamW(self.model.head.parameters(), lr=sizes["learning_rate"])
            self.optimizers = [torch.optim.SparseAdam(self.model.table.parameters(), lr=sizes["learning_rate"]), head]
        else:
            self.optimizers = [torch.optim.AdamW(self.model.parameters(), lr=sizes["learning_rate"])]
        self.taken = 0

    def step(self):
        batch = self.batches[self.taken % len(self.batches)]
        self.taken += 1
        started = time.perf_counter()
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = F.cross_entropy(self.model(batch), batch["labels"], label_smoothing=self.smoothing)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        value = loss.item()
        return 1000 * (time.perf_counter() - started), value


def main():
    training = Training(json.loads(sys.stdin.readline()))
    print(json.dumps({"ready": True, "version": torch.__version__}), flush=True)
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        started = time.process_time()
        taken = [training.step() for _ in range(steps)]
        answer = {
            "milliseconds": [milliseconds for milliseconds, _ in taken],
            "losses": [loss for _, loss in taken],
            "cpuMs": 1000 * (time.process_time() - started) / steps,
            "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(answer), flush=True)


main()
