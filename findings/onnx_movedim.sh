#!/usr/bin/env bash
# torch.onnx.export (dynamo=False) writes movedim with a negative *source* as a Transpose whose perm
# holds that negative number. The export ends without an error; onnxruntime refuses the file. A
# negative destination is written right. It matters wherever spectra are taken along a moved axis:
# name the axis by its non-negative number.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q torch==2.13.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import onnxruntime
import torch

warnings.simplefilter("ignore")


class Moved(torch.nn.Module):
    def __init__(self, source, destination):
        super().__init__()
        self.source, self.destination = source, destination

    def forward(self, x):
        return x.movedim(self.source, self.destination)


def loads(source, destination):
    """Return whether onnxruntime takes the exported file and gives PyTorch's values."""
    x = torch.randn(2, 3, 4, 5)
    model = Moved(source, destination)
    torch.onnx.export(model, (x,), "moved.onnx", dynamo=False, opset_version=17, input_names=["x"])
    try:
        session = onnxruntime.InferenceSession("moved.onnx", providers=["CPUExecutionProvider"])
    except Exception as error:
        print(f"movedim({source}, {destination}): {str(error)[:170]}")
        return False
    found = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
    print(f"movedim({source}, {destination}): the same, {torch.equal(found, model(x))}")
    return torch.equal(found, model(x))


print("torch", torch.__version__, "onnxruntime", onnxruntime.__version__)
seen = {(a, b): loads(a, b) for a, b in ((3, 2), (2, -1), (-1, 2), (-2, 1))}
sys.exit(seen != {(3, 2): True, (2, -1): True, (-1, 2): False, (-2, 1): False})
PYTHON
