#include <cuda_runtime.h>
#include <dlfcn.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "core/error.h"
#include "cuda/platform.h"

namespace kernels::cuda::platform {

namespace {

void Expect(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  const Code code = status == cudaErrorMemoryAllocation ? Code::kOutOfMemory : Code::kDevice;
  throw Error(code, std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}

cudaStream_t Native(Stream stream) {
  return static_cast<cudaStream_t>(stream);
}

cudaEvent_t NativeEvent(Event event) {
  return static_cast<cudaEvent_t>(event);
}

int CurrentDevice() {
  int device = 0;
  Expect(cudaGetDevice(&device), "asking for the GPU in use");
  return device;
}

int Attribute(cudaDeviceAttr attribute) {
  int value = 0;
  Expect(cudaDeviceGetAttribute(&value, attribute, CurrentDevice()), "asking for its properties");
  return value;
}

// Whether there was memory.
bool Given(cudaError_t status) {
  if (status != cudaErrorMemoryAllocation) {
    Expect(status, "allocating memory");
    return true;
  }
  cudaGetLastError();  // it is not an error of what comes next
  return false;
}

}  // namespace

const char* Name() {
  return "cuda";
}

bool HasVendorLibraries() {
  return true;
}

int32_t CountDevices() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice) return 0;
  if (status == cudaErrorInsufficientDriver && dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) {
    throw Error(Code::kUnsupported, "no GPU can be used: there is no NVIDIA driver");
  }
  if (status != cudaSuccess) {
    throw Error(Code::kUnsupported,
                std::string("no GPU can be used: ") + cudaGetErrorString(status));
  }
  return count;
}

void DescribeDevice(int32_t device, DeviceDescription* description) {
  cudaDeviceProp properties;
  Expect(cudaGetDeviceProperties(&properties, device), "asking for its properties");
  std::strncpy(description->name, properties.name, sizeof description->name - 1);
  description->memory_bytes = properties.totalGlobalMem;
  description->major = properties.major;
  description->minor = properties.minor;
  description->multiprocessors = properties.multiProcessorCount;
}

void UseDevice(int32_t device) {
  Expect(cudaSetDevice(device), "choosing the GPU");
}

Stream NewStream() {
  cudaStream_t stream = nullptr;
  Expect(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return stream;
}

void DeleteStream(Stream stream) {
  cudaStreamSynchronize(Native(stream));
  cudaStreamDestroy(Native(stream));
}

void Wait(Stream stream) {
  Expect(cudaStreamSynchronize(Native(stream)), "running kernels");
}

Event NewEvent() {
  cudaEvent_t event = nullptr;
  // Whoever waits for one sleeps: it is for a copy, and there is work for the processor.
  Expect(cudaEventCreateWithFlags(&event, cudaEventBlockingSync | cudaEventDisableTiming),
         "making an event");
  return event;
}

void DeleteEvent(Event event) {
  cudaEventDestroy(NativeEvent(event));
}

void Record(Event event, Stream stream) {
  Expect(cudaEventRecord(NativeEvent(event), Native(stream)), "recording an event");
}

void WaitFor(Stream stream, Event event) {
  Expect(cudaStreamWaitEvent(Native(stream), NativeEvent(event), 0), "waiting for a stream");
}

void WaitFor(Event event) {
  Expect(cudaEventSynchronize(NativeEvent(event)), "waiting for a stream");
}

void* Allocate(uint64_t bytes) {
  void* data = nullptr;
  return Given(cudaMalloc(&data, bytes)) ? data : nullptr;
}

void Release(void* data) {
  cudaFree(data);
}

void* AllocatePinned(uint64_t bytes) {
  void* data = nullptr;
  return Given(cudaHostAlloc(&data, bytes, cudaHostAllocDefault)) ? data : nullptr;
}

void ReleasePinned(void* data) {
  cudaFreeHost(data);
}

void CopyIn(void* to, const void* host, uint64_t bytes, Stream stream) {
  // Of pageable memory: staged before the call returns, unless the GPU reads it by itself.
  Expect(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, Native(stream)),
         "copying to the GPU");
  if (Attribute(cudaDevAttrPageableMemoryAccessUsesHostPageTables) == 0) return;
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  Expect(cudaStreamIsCapturing(Native(stream), &capture), "copying to the GPU");
  if (capture == cudaStreamCaptureStatusNone) Wait(stream);
}

void CopyPinned(void* to, const void* pinned, uint64_t bytes, Stream stream) {
  Expect(cudaMemcpyAsync(to, pinned, bytes, cudaMemcpyHostToDevice, Native(stream)),
         "copying to the GPU");
}

void CopyOut(void* host, const void* from, uint64_t bytes, Stream stream) {
  Expect(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, Native(stream)),
         "copying from the GPU");
}

void Clear(void* data, uint64_t bytes, Stream stream) {
  Expect(cudaMemsetAsync(data, 0, bytes, Native(stream)), "clearing memory");
}

void AllowShared(const void* kernel, size_t bytes) {
  // The most that a block of the kernel can have: the same for every launch, since other threads
  // may be launching it too.
  thread_local std::map<std::pair<int, const void*>, size_t> limits;
  size_t& limit = limits[{CurrentDevice(), kernel}];
  if (limit == 0) {
    cudaFuncAttributes attributes;
    Expect(cudaFuncGetAttributes(&attributes, kernel), "asking for a kernel's properties");
    const int most = Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin) -
                     static_cast<int>(attributes.sharedSizeBytes);
    Expect(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most),
           "allowing a kernel's shared memory");
    limit = static_cast<size_t>(most);
  }
  if (bytes > limit) ThrowTooLittleShared(bytes, limit);
}

bool HasGraphs() {
  return true;
}

void BeginCapture(Stream stream) {
  Expect(cudaStreamBeginCapture(Native(stream), cudaStreamCaptureModeThreadLocal),
         "beginning a capture");
}

void* EndCapture(Stream stream) {
  cudaGraph_t graph = nullptr;
  Expect(cudaStreamEndCapture(Native(stream), &graph), "ending a capture");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  Expect(status, "making a graph");
  return executable;
}

void LaunchGraph(void* graph, Stream stream) {
  Expect(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), Native(stream)), "launching a graph");
}

void DeleteGraph(void* graph) {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph));
}

}  // namespace kernels::cuda::platform
