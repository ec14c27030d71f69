"""AutoGPTQ's quantization of one linear, as a plain PyTorch loop, for its time: Hessian and solve.

    /usr/bin/python3 autogptq_loop.py IN OUT SEQUENCES LENGTH -> one line of JSON
"""
import json
import sys
import time

import torch

torch.set_num_threads(2)
inputs, outputs, sequences, length = map(int, sys.argv[1:5])
torch.manual_seed(0)
weight = torch.randn(outputs, inputs) * 0.02
batches = [torch.randn(length, inputs) for _ in range(sequences)]

# A PyTorch over the reference BLAS is no peer: that is some hundred times slower than the processor. This also takes allocation and
# thread start out of what follows.
square = torch.randn(1024, 1024)
square.matmul(square)
started = time.perf_counter()
square.matmul(square)
rate = 2 * 1024**3 / (time.perf_counter() - started) / 1e9
if rate < 20:
    sys.exit(f"PyTorch multiplies at {rate:.1f} GFLOP/s; install libopenblas0-pthread for a fair comparison")
batches[0].t().matmul(batches[0])
started = time.perf_counter()
hessian = torch.zeros(inputs, inputs)
seen = 0
for batch in batches:
    hessian *= seen / (seen + 1)
    seen += 1
    x = (2 / seen) ** 0.5 * batch.t().float()
    hessian += x.matmul(x.t())
hessian_seconds = time.perf_counter() - started

started = time.perf_counter()
bits, group, block_size = 4, 128, 128
maxq = 2**bits - 1
w = weight.clone()
diagonal = torch.arange(inputs)
hessian[diagonal, diagonal] += 0.01 * torch.mean(torch.diag(hessian))
factor = torch.linalg.cholesky(hessian)
factor = torch.cholesky_inverse(factor)
factor = torch.linalg.cholesky(factor, upper=True)
result = torch.zeros_like(w)
for begin in range(0, inputs, block_size):
    end = min(begin + block_size, inputs)
    block = w[:, begin:end].clone()
    errors = torch.zeros_like(block)
    local = factor[begin:end, begin:end]
    for i in range(end - begin):
        if (begin + i) % group == 0:
            largest = w[:, begin + i : begin + i + group].abs().amax(dim=1)
            scale = 2 * largest / maxq
        column = block[:, i]
        code = torch.clamp(torch.round(column / scale) + (maxq + 1) / 2, 0, maxq)
        rounded = scale * (code - (maxq + 1) / 2)
        result[:, begin + i] = rounded
        error = (column - rounded) / local[i, i]
        block[:, i:] -= error.unsqueeze(1).matmul(local[i, i:].unsqueeze(0))
        errors[:, i] = error
    w[:, end:] -= errors.matmul(factor[begin:end, end:])
solve_seconds = time.perf_counter() - started
print(json.dumps({"hessianSeconds": hessian_seconds, "solveSeconds": solve_seconds}))
