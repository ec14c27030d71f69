"""Writes the PyTorch files beside it, and expected.json with the bytes of their tensors.

python3 make.py   (made with PyTorch 1.13 on a little-endian machine)
"""

import collections
import json
import os

import torch

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(7)
base = torch.randn(4, 6)
state = collections.OrderedDict(
    bf16=torch.randn(2, 3).to(torch.bfloat16),
    f16=torch.randn(4).to(torch.float16),
    f32=base,
    rows=base[1:3],
    tied=base,
    i64=torch.arange(3),
    i32=torch.arange(3, dtype=torch.int32),
    u8=torch.arange(3, dtype=torch.uint8),
    scalar=torch.tensor(2.5),
    empty=torch.zeros(0, 3),
    column=base[:, :1].contiguous()[:, :],
    parameter=torch.nn.Parameter(torch.randn(2, 2)),
)
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))


def save(name, value, **options):
    torch.save(value, os.path.join(here, name), **options)


save("ordered.bin", state)
save("plain.bin", dict(state))
save("protocol4.bin", state, pickle_protocol=4)
save("module.bin", module.state_dict())
save("legacy.bin", {"a": base}, _use_new_zipfile_serialization=False)
save("transposed.bin", {"a": base.t()})
save("columns.bin", {"a": base[:, :2]})
save("object.bin", module)
save("nested.bin", {"state_dict": state, "epoch": 3, "rate": 0.1})
save("double.bin", {"a": torch.zeros(2, dtype=torch.float64)})
torch.jit.script(torch.nn.Linear(2, 2)).save(os.path.join(here, "script.bin"))


def described(tensor):
    data = tensor.detach().contiguous()
    raw = data.view(torch.int16) if data.dtype == torch.bfloat16 else data
    names = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
    names.update({"int64": "I64", "int32": "I32", "uint8": "U8"})
    return {
        "dtype": names[str(data.dtype).split(".")[1]],
        "shape": list(data.shape),
        "hex": raw.numpy().tobytes().hex(),
    }


tables = {"state": state, "module": module.state_dict()}
expected = {key: {k: described(v) for k, v in t.items()} for key, t in tables.items()}
with open(os.path.join(here, "expected.json"), "w") as out:
    json.dump(expected, out, indent=1)
    out.write("\n")
