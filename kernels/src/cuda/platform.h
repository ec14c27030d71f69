#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/backend.h"

// What sessions need of a machine with CUDA. platform_cuda.cu has it from the CUDA runtime,
// platform_emulation.cc from the processor. Failures are thrown as Error.
namespace kernels::cuda::platform {

using Stream = void*;
using Event = void*;

const char* Name();
// Whether NVIDIA's libraries can work on its memory.
bool HasVendorLibraries();
int32_t CountDevices();
void DescribeDevice(int32_t device, DeviceDescription* description);
void UseDevice(int32_t device);

Stream NewStream();
void DeleteStream(Stream stream);
void Wait(Stream stream);

// What a stream was asked for before the latest Record; nothing before the first. Of two threads
// that record an event and wait for it one must keep the other out.
Event NewEvent();
void DeleteEvent(Event event);
void Record(Event event, Stream stream);
// For what the stream is asked for from here on.
void WaitFor(Stream stream, Event event);
void WaitFor(Event event);

// Null: no memory left. What is released, if anything, must not be in use any more.
void* Allocate(uint64_t bytes);
void Release(void* data);
void* AllocatePinned(uint64_t bytes);
void ReleasePinned(void* data);
void CopyIn(void* to, const void* host, uint64_t bytes, Stream stream);
// From pinned memory, which must stay as it is until the copy has run.
void CopyPinned(void* to, const void* pinned, uint64_t bytes, Stream stream);
void CopyOut(void* host, const void* from, uint64_t bytes, Stream stream);
void Clear(void* data, uint64_t bytes, Stream stream);

// To be called before a kernel's launch with so many bytes of dynamic shared memory. Throws
// kUnsupported where a block cannot have them.
void AllowShared(const void* kernel, size_t bytes);

[[noreturn]] void ThrowTooLittleShared(size_t bytes, size_t limit);

bool HasGraphs();
void BeginCapture(Stream stream);
void* EndCapture(Stream stream);
void LaunchGraph(void* graph, Stream stream);
void DeleteGraph(void* graph);

}  // namespace kernels::cuda::platform
