#pragma once

#include "cuda/rows.h"

namespace kernels::cuda {

// Rotates n neighbouring pairs of a head in place: elements at[i] and at[half + i], by the angle
// with the cosine angle[i] and the sine angle[half + i].
template <int n>
__device__ void RotatePairs(float* at, const float* angle, int64_t half) {
  const auto cosine = LoadPack<float, n>(angle);
  const auto sine = LoadPack<float, n>(angle + half);
  auto a = LoadPack<float, n>(at);
  auto b = LoadPack<float, n>(at + half);
  for (int i = 0; i < n; ++i) {
    const float u = a.at[i];
    const float v = b.at[i];
    a.at[i] = u * cosine.at[i] - v * sine.at[i];
    b.at[i] = v * cosine.at[i] + u * sine.at[i];
  }
  StorePack(at, a);
  StorePack(at + half, b);
}

}  // namespace kernels::cuda
