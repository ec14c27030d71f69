#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/rows.h"
#include "ops/elementwise/implementations.h"

namespace kernels {

namespace {

int32_t Saturate(int64_t count) {
  return static_cast<int32_t>(std::min<int64_t>(count, std::numeric_limits<int32_t>::max()));
}

// All exponent bits set: infinity or NaN.
bool NonFinite(float value) {
  return (std::bit_cast<uint32_t>(value) & 0x7f800000u) == 0x7f800000u;
}
bool NonFinite(F16 value) {
  return (value.bits & 0x7c00) == 0x7c00;
}
bool NonFinite(BF16 value) {
  return (value.bits & 0x7f80) == 0x7f80;
}

template <class T>
T FromFloat(float value);
template <>
float FromFloat(float value) {
  return value;
}
template <>
F16 FromFloat(float value) {
  return ToF16(value);
}
template <>
BF16 FromFloat(float value) {
  return ToBF16(value);
}

template <class X, class Y>
void CastAll(const Context& context, const CastArgs& args) {
  const X* x = args.x.As<X>();
  Y* y = args.y.As<Y>();
  std::atomic<int64_t> infinite{0};
  std::atomic<int64_t> vanished{0};
  ForRows(context.pool, args.x.elements(), 1, [&](int64_t begin, int64_t end, int) {
    int32_t overflows = 0;
    int32_t underflows = 0;
    for (int64_t i = begin; i < end; ++i) {
      const float value = ToFloat(x[i]);
      const Y result = FromFloat<Y>(value);
      const float back = ToFloat(result);
      overflows += NonFinite(back) & !NonFinite(value);
      underflows += (back == 0) & (value != 0);
      y[i] = result;
    }
    infinite += overflows;
    vanished += underflows;
  });
  int32_t* counts = args.counts.As<int32_t>();
  counts[0] = Saturate(counts[0] + infinite.load());
  counts[1] = Saturate(counts[1] + vanished.load());
}

template <class X>
void CastFrom(const Context& context, const CastArgs& args) {
  if (args.y.dtype == DType::kF32) CastAll<X, float>(context, args);
  if (args.y.dtype == DType::kF16) CastAll<X, F16>(context, args);
  if (args.y.dtype == DType::kBF16) CastAll<X, BF16>(context, args);
}

template <class T>
void CountRows(const Context& context, const CountNonFiniteArgs& args) {
  const int64_t width = args.x.shape[1];
  std::atomic<int64_t> total{0};
  ForRows(context.pool, args.x.shape[0], width, [&](int64_t begin, int64_t end, int) {
    int64_t found = 0;
    for (int64_t r = begin; r < end; ++r) {
      const T* x = args.x.Row<T>(r);
      for (int64_t i = 0; i < width; ++i) found += NonFinite(x[i]);
    }
    total += found;
  });
  *args.count.As<int32_t>() = Saturate(total.load());
}

}  // namespace

namespace reference {

void Swiglu(const Context& context, const SwigluArgs& args) {
  const int64_t width = args.up.shape[1];
  ForRows(context.pool, args.up.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* up = args.up.Row<float>(r);
      const float* gate = args.gate.Row<float>(r);
      float* y = args.y.Row<float>(r);
      for (int64_t i = 0; i < width; ++i) {
        // -200 * exp(-200) is far below the smallest f32, and -infinity would give NaN.
        const double t = gate[i] < -200 ? -200.0 : double{gate[i]};
        y[i] = up[i] * static_cast<float>(t / (1 + std::exp(-t)));
      }
    }
  });
}

}  // namespace reference

void Add(const Context& context, const AddArgs& args) {
  const int64_t width = args.a.shape[1];
  ForRows(context.pool, args.a.shape[0], width, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      const float* a = args.a.Row<float>(r);
      const float* b = args.b.Row<float>(r);
      float* y = args.y.Row<float>(r);
      for (int64_t i = 0; i < width; ++i) y[i] = a[i] + b[i];
    }
  });
}

void Cast(const Context& context, const CastArgs& args) {
  if (args.x.dtype == DType::kF32) CastFrom<float>(context, args);
  if (args.x.dtype == DType::kF16) CastFrom<F16>(context, args);
  if (args.x.dtype == DType::kBF16) CastFrom<BF16>(context, args);
}

void Copy(const Context& context, const CopyArgs& args) {
  const int64_t element = DTypeBytes(args.x.dtype);
  const int64_t bytes = args.x.shape[1] * element;
  ForRows(context.pool, args.x.shape[0], args.x.shape[1], [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) {
      std::memcpy(args.y.data + r * bytes, args.x.data + r * args.x.stride[0] * element, bytes);
    }
  });
}

void CountNonFinite(const Context& context, const CountNonFiniteArgs& args) {
  if (args.x.dtype == DType::kF32) CountRows<float>(context, args);
  if (args.x.dtype == DType::kF16) CountRows<F16>(context, args);
  if (args.x.dtype == DType::kBF16) CountRows<BF16>(context, args);
}

}  // namespace kernels
