// The functions of cuBLASLt that kernels/src/cuda/cublas_lt.cc calls, on the host's memory, after NVIDIA's documentation:
// D = alpha op(A) op(B) + beta C, matrices by columns.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct { int type; uint64_t rows, columns; int64_t stride; } Layout;
typedef struct { int transposes_a, transposes_b; } Descriptor;

// Writes down what was asked for to the file that VENDOR_LOG names; whether that is to be refused, as VENDOR_REFUSES has it.
static int IsRefused(uint64_t m, uint64_t n, uint64_t k) {
  FILE* log = fopen(getenv("VENDOR_LOG"), "a");
  fprintf(log, "product %llu %llu %llu\n", (unsigned long long)m, (unsigned long long)n, (unsigned long long)k);
  fclose(log);
  return getenv("VENDOR_REFUSES") != NULL;
}

enum { kSuccess = 0, kInvalid = 7, kNotSupported = 15 };

size_t cublasLtGetVersion(void) { return 130002; }
int cublasLtCreate(void** handle) { *handle = malloc(1); return kSuccess; }
int cublasLtDestroy(void* handle) { free(handle); return kSuccess; }

int cublasLtMatmulDescCreate(void** descriptor, int compute, int scale) {
  if (compute != 68 || scale != 0) return kNotSupported;
  *descriptor = calloc(1, sizeof(Descriptor));
  return kSuccess;
}
int cublasLtMatmulDescSetAttribute(void* descriptor, int attribute, const void* value, size_t bytes) {
  Descriptor* to = descriptor;
  if (bytes != sizeof(int32_t)) return kInvalid;
  const int32_t transposes = *(const int32_t*)value;
  if (transposes != 0 && transposes != 1) return kInvalid;
  if (attribute == 3) to->transposes_a = transposes;
  else if (attribute == 4) to->transposes_b = transposes;
  else return kInvalid;
  return kSuccess;
}
int cublasLtMatmulDescDestroy(void* descriptor) { free(descriptor); return kSuccess; }

int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  if (stride < (int64_t)rows) return kInvalid;
  Layout* made = malloc(sizeof(Layout));
  *made = (Layout){type, rows, columns, stride};
  *layout = made;
  return kSuccess;
}
int cublasLtMatrixLayoutDestroy(void* layout) { free(layout); return kSuccess; }

static double At(const void* data, const Layout* layout, uint64_t row, uint64_t column) {
  const uint64_t at = column * (uint64_t)layout->stride + row;
  if (layout->type == 0) return ((const float*)data)[at];
  union { uint32_t bits; float value; } widened = {(uint32_t)((const uint16_t*)data)[at] << 16};
  return widened.value;
}

int cublasLtMatmul(void* handle, void* descriptor, const void* alpha, const void* a, void* a_layout, const void* b,
                   void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                   const void* algorithm, void* workspace, size_t workspace_bytes, void* stream) {
  (void)handle, (void)algorithm, (void)workspace, (void)workspace_bytes, (void)stream;
  const Descriptor* op = descriptor;
  const Layout *la = a_layout, *lb = b_layout, *lc = c_layout, *ld = d_layout;
  if (la->type != lb->type || (la->type != 0 && la->type != 14) || lc->type != 0 || ld->type != 0) return kNotSupported;
  const uint64_t m = op->transposes_a ? la->columns : la->rows;
  const uint64_t k = op->transposes_a ? la->rows : la->columns;
  const uint64_t n = op->transposes_b ? lb->rows : lb->columns;
  if ((op->transposes_b ? lb->columns : lb->rows) != k || ld->rows != m || ld->columns != n || lc->rows != m ||
      lc->columns != n) {
    return kInvalid;
  }
  if (IsRefused(m, n, k)) return kNotSupported;
  for (uint64_t j = 0; j < n; ++j) {
    double* right = malloc(k * sizeof(double));
    double* sums = calloc(m, sizeof(double));
    for (uint64_t l = 0; l < k; ++l) right[l] = op->transposes_b ? At(b, lb, j, l) : At(b, lb, l, j);
    for (uint64_t l = 0; l < k; ++l) {
      for (uint64_t i = 0; i < m; ++i) sums[i] += (op->transposes_a ? At(a, la, l, i) : At(a, la, i, l)) * right[l];
    }
    for (uint64_t i = 0; i < m; ++i) {
      const double before = ((const float*)c)[j * (uint64_t)lc->stride + i];
      ((float*)d)[j * (uint64_t)ld->stride + i] = (float)(*(const float*)alpha * sums[i] + *(const float*)beta * before);
    }
    free(right);
    free(sums);
  }
  return kSuccess;
}
