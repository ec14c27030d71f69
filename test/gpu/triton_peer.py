"""A product of 4-bit weights in Triton, written as such kernels usually are: a peer of ours (peers.py)."""

import torch
import triton
import triton.language as tl

GROUP = 128


@triton.autotune(
    configs=[
        triton.Config({"columns_of_block": columns}, num_warps=warps, num_stages=stages)
        for columns in (16, 32, 64, 128)
        for warps in (4, 8)
        for stages in (3, 5)
    ],
    key=["m", "n", "k"],
)
@triton.jit
def product_kernel(x, codes, scales, y, m, n, k, rows_of_block: tl.constexpr, columns_of_block: tl.constexpr,
                   group: tl.constexpr):
    rows = tl.program_id(0) * rows_of_block + tl.arange(0, rows_of_block)
    columns = tl.program_id(1) * columns_of_block + tl.arange(0, columns_of_block)
    sums = tl.zeros((rows_of_block, columns_of_block), tl.float32)
    for first in range(0, k, group):
        inputs = first + tl.arange(0, group)
        left = tl.load(x + rows[:, None] * k + inputs[None, :], mask=rows[:, None] < m, other=0.0)
        # An output's inputs 2 i and 2 i + 1 share a byte.
        pair = tl.load(codes + columns[None, :] * (k // 2) + inputs[:, None] // 2).to(tl.int32)
        code = (pair >> (inputs[:, None] % 2 * 4)) & 15
        scale = tl.load(scales + first // group * n + columns).to(tl.float32)
        sums += tl.dot(left, (code - 8).to(tl.bfloat16)) * scale[None, :]
    tl.store(y + rows[:, None] * n + columns[None, :], sums.to(tl.bfloat16), mask=rows[:, None] < m)


def product(x, codes, scales):
    """x [m, k] bf16, codes [n, k / 2] u8, scales [k / 128, n] bf16, n a multiple of 128; [m, n] bf16."""
    m, k = x.shape
    n = codes.shape[0]
    y = torch.empty(m, n, device=x.device, dtype=torch.bfloat16)
    rows = 16 if m <= 16 else 64
    grid = lambda meta: (triton.cdiv(m, rows), n // meta["columns_of_block"])  # noqa: E731
    product_kernel[grid](x, codes, scales, y, m, n, k, rows_of_block=rows, group=GROUP)
    return y


def check(x, codes, scales):
    """Raises where the kernel is not within a bf16's rounding of the definition: a wrong peer is none."""
    k = x.shape[1]
    values = torch.stack((codes & 15, codes >> 4), dim=2).reshape(codes.shape[0], k).float() - 8
    weight = values * scales.float().T.repeat_interleave(GROUP, dim=1)
    expected = x.float() @ weight.T
    error = ((product(x, codes, scales).float() - expected).norm() / expected.norm()).item()
    if not error < 0.01:
        raise ValueError(f"wrong by {error}")
