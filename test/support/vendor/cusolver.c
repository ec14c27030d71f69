// The functions of cuSOLVER that kernels/src/cuda/cusolver.cc calls, on the host's memory, after NVIDIA's documentation: LAPACK's
// potrf and trtri of a lower triangle, matrices by columns.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int IsRefused(int n) {
  FILE* log = fopen(getenv("VENDOR_LOG"), "a");
  fprintf(log, "factorization %d\n", n);
  fclose(log);
  return getenv("VENDOR_REFUSES") != NULL;
}

enum { kSuccess = 0, kInvalid = 3, kInternal = 7 };

int cusolverGetProperty(int part, int* value) {
  const int is_old = getenv("VENDOR_IS_OLD") != NULL;
  *value = part == 0 ? (is_old ? 11 : 12) : part == 1 ? (is_old ? 5 : 0) : 4;
  return kSuccess;
}
int cusolverDnCreate(void** handle) { *handle = malloc(1); return kSuccess; }
int cusolverDnDestroy(void* handle) { free(handle); return kSuccess; }
int cusolverDnSetStream(void* handle, void* stream) { (void)handle, (void)stream; return kSuccess; }

int cusolverDnSpotrf_bufferSize(void* handle, int triangle, int n, float* matrix, int stride, int* floats) {
  (void)handle, (void)matrix;
  if (triangle != 0 || stride < n) return kInvalid;
  *floats = n;
  return kSuccess;
}

int cusolverDnSpotrf(void* handle, int triangle, int n, float* matrix, int stride, float* work, int floats, int* info) {
  (void)handle;
  if (triangle != 0 || stride < n || floats < n) return kInvalid;
  if (IsRefused(n)) return kInternal;
  for (int i = 0; i < n; ++i) work[i] = NAN;  // is the library's to write to
  *info = 0;
  for (int j = 0; j < n; ++j) {
    for (int i = j; i < n; ++i) {
      double sum = matrix[(int64_t)j * stride + i];
      for (int k = 0; k < j; ++k) sum -= (double)matrix[(int64_t)k * stride + i] * matrix[(int64_t)k * stride + j];
      // NaN may go unnoticed.
      if (i == j && sum <= 0) {
        *info = j + 1;
        return kSuccess;
      }
      matrix[(int64_t)j * stride + i] = (float)(i == j ? sqrt(sum) : sum / matrix[(int64_t)j * stride + j]);
    }
  }
  return kSuccess;
}

int cusolverDnXtrtri_bufferSize(void* handle, int triangle, int diagonal, int64_t n, int type, void* matrix, int64_t stride,
                                size_t* device_bytes, size_t* host_bytes) {
  (void)handle, (void)matrix;
  if (triangle != 0 || diagonal != 0 || type != 0 || stride < n) return kInvalid;
  *device_bytes = getenv("VENDOR_IS_GREEDY") != NULL ? (size_t)1 << 40 : (size_t)n * 8;
  *host_bytes = 0;
  return kSuccess;
}

int cusolverDnXtrtri(void* handle, int triangle, int diagonal, int64_t n, int type, void* matrix, int64_t stride, void* work,
                     size_t device_bytes, void* host_work, size_t host_bytes, int* info) {
  (void)handle, (void)host_work, (void)host_bytes;
  if (triangle != 0 || diagonal != 0 || type != 0 || stride < n || device_bytes < (size_t)n * 8) return kInvalid;
  float* l = matrix;
  double* column = work;
  *info = 0;
  // From the last column: of L^-1's column j, rows below follow from those of L.
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = j; i < n; ++i) {
      double sum = i == j ? 1 : 0;
      for (int64_t k = j; k < i; ++k) sum -= l[k * stride + i] * column[k];
      column[i] = sum / l[i * stride + i];
    }
    for (int64_t i = j; i < n; ++i) l[j * stride + i] = (float)column[i];
  }
  return kSuccess;
}
