"""What others reach on this card: cuBLAS in bf16, int4 products of PyTorch and in Triton, and GPTQ as AutoGPTQ loops over it.

python3 test/gpu/peers.py OUT.json
"""

import json
import sys
import time

import torch

out = open(sys.argv[1], "w")
device = "cuda"


def record(**row):
    print(row, flush=True)
    out.write(json.dumps(row) + "\n")
    out.flush()


def timed(body, seconds=0.2):
    """Median seconds of body(), by events."""
    for _ in range(3):
        body()
    torch.cuda.synchronize()
    times = []
    end = time.time() + seconds
    while time.time() < end or len(times) < 5:
        begin, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        body()
        done.record()
        done.synchronize()
        times.append(begin.elapsed_time(done) / 1000)
    return sorted(times)[len(times) // 2]


def ceilings():
    for n in (4096, 8192):
        a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
        record(what=f"cuBLAS bf16 {n}", tflops=2 * n**3 / timed(lambda: a @ b) / 1e12)
    x = torch.empty(1 << 30, device=device, dtype=torch.uint8)
    y = torch.empty_like(x)
    record(what="copy", gb_per_s=2 * x.numel() / timed(lambda: y.copy_(x)) / 1e9)


def linears():
    for width, ffn in ((2048, 5504), (4096, 11008), (8192, 24576)):
        for n, k in ((3 * width, width), (width, width), (ffn, width), (width, ffn)):
            copies = max(3, int(256e6 / (2 * n * k)))
            weights = [torch.randn(n, k, device=device, dtype=torch.bfloat16) for _ in range(copies)]
            for m in (1, 8, 64, 2048):
                x = torch.randn(m, k, device=device, dtype=torch.bfloat16)
                seconds = timed(lambda: [x @ w.T for w in weights]) / copies
                record(kind="cuBLAS bf16", out=n, inputs=k, rows=m, us=seconds * 1e6)
            int4(n, k)
            triton_int4(n, k)


def int4(n, k):
    """gpt-fast's kernel; PyTorch moves and renames it now and then."""
    try:
        codes = torch.randint(0, 255, (n, k // 2), device=device, dtype=torch.uint8)
        packed = torch._convert_weight_to_int4pack(codes, 8)
        scales = torch.randn(k // 128, n, 2, device=device, dtype=torch.bfloat16)
        for m in (1, 8, 64):
            x = torch.randn(m, k, device=device, dtype=torch.bfloat16)
            seconds = timed(lambda: torch._weight_int4pack_mm(x, packed, 128, scales))
            record(kind="torch int4", out=n, inputs=k, rows=m, us=seconds * 1e6)
    except Exception as error:  # noqa: BLE001 (a peer that is not there is no failure of ours)
        record(kind="torch int4", out=n, inputs=k, error=str(error)[:200])


def triton_int4(n, k):
    try:
        from triton_peer import GROUP, check, product

        copies = max(3, int(256e6 / (n * k / 2)))
        weights = [
            (
                torch.randint(0, 256, (n, k // 2), device=device, dtype=torch.uint8),
                torch.randn(k // GROUP, n, device=device, dtype=torch.bfloat16),
            )
            for _ in range(copies)
        ]
        for m in (1, 8, 64):
            x = torch.randn(m, k, device=device, dtype=torch.bfloat16)
            check(x, *weights[0])
            seconds = timed(lambda: [product(x, *weight) for weight in weights]) / copies
            record(kind="Triton int4", out=n, inputs=k, rows=m, us=seconds * 1e6)
    except Exception as error:  # noqa: BLE001 (a peer that is not there is no failure of ours)
        record(kind="Triton int4", out=n, inputs=k, error=str(error)[:200])


def gptq_layer(n, k, tokens):
    """AutoGPTQ's gptq.py by what it does: f32 Hessian, three factorizations, a loop over columns."""
    x = torch.randn(tokens, k, device=device, dtype=torch.bfloat16)
    w = torch.randn(n, k, device=device)
    torch.cuda.synchronize()
    began = time.time()
    hessian = torch.zeros(k, k, device=device)
    for begin in range(0, tokens, 2048):
        part = x[begin : begin + 2048].float()
        hessian += part.T @ part
    hessian *= 2 / tokens
    hessian.diagonal().add_(0.01 * hessian.diagonal().mean())
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian))
    factor = torch.linalg.cholesky(inverse, upper=True)
    torch.cuda.synchronize()
    factored = time.time()
    for begin in range(0, k, 128):
        end = min(begin + 128, k)
        block, errors = w[:, begin:end].clone(), torch.zeros(n, end - begin, device=device)
        scale = block.abs().amax(1).clamp(min=1e-8) / 7
        for i in range(end - begin):
            d = factor[begin + i, begin + i]
            q = torch.clamp(torch.round(block[:, i] / scale), -8, 7) * scale
            error = (block[:, i] - q) / d
            block[:, i:] -= error[:, None] * factor[begin + i, begin + i : end][None]
            errors[:, i] = error
        w[:, end:] -= errors @ factor[begin:end, end:]
    torch.cuda.synchronize()
    return factored - began, time.time() - factored


def quantization():
    torch.backends.cuda.matmul.allow_tf32 = False
    total = 0.0
    for name, n, k in (("c_attn", 12288, 4096), ("attn.c_proj", 4096, 4096), ("w1", 11008, 4096),
                       ("w2", 11008, 4096), ("mlp.c_proj", 4096, 11008)):
        hessian, loop = gptq_layer(n, k, 128 * 2048)
        total += hessian + loop
        record(kind="AutoGPTQ's loop", layer=name, hessian_s=hessian, loop_s=loop)
    record(kind="AutoGPTQ's loop", what="32 layers of 7B without its five forwards", seconds=32 * total)


for part in (ceilings, linears, quantization):
    part()
