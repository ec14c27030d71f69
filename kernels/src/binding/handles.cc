#include "binding/handles.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "cuda/library.h"

namespace kernels::binding {

namespace {

constexpr napi_type_tag kTensorTag = {0x5f0e1d9b7a324c11, 0x9b1e43a2d5c0f7e6};
constexpr napi_type_tag kDeviceTag = {0x21c7d3e84fb96a05, 0x8e7a1b0c6d5f4932};
constexpr napi_type_tag kFileTag = {0x7d402b1fe96c8835, 0x3a9f5e21b7c0d468};

// Runs when the environment goes, before Node frees what `deliver` stands for: from here on the
// stream's thread must not deliver anything. Nobody is left to see what is skipped.
void AbandonDevice(void* data) {
  DeviceHandle& handle = *static_cast<DeviceHandle*>(data);
  handle.device->stream().Abandon();
  handle.ended = true;
}

// Gives up the device and what delivers its answers; nobody may be waiting for one.
void EndDevice(Napi::Env env, DeviceHandle& handle) {
  if (handle.ended) return;
  handle.ended = true;
  napi_remove_env_cleanup_hook(env, AbandonDevice, &handle);
  handle.device.reset();  // tensors that are still referenced keep it running
  handle.deliver.Release();
}

using MappedHandle = std::shared_ptr<MappedFile>;

// Shape as a typed array of doubles: extents above 2^31 are exact.
Tensor ParseShape(const char* op, const Napi::Value& value, DType dtype) {
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    throw Error(Code::kValue, std::string(op) + ": shape is not a Float64Array");
  }
  const auto extents = value.As<Napi::Float64Array>();
  if (extents.ElementLength() > kMaxRank) {
    throw Error(Code::kShape, std::string(op) + ": rank " +
                                  std::to_string(extents.ElementLength()) + " exceeds " +
                                  std::to_string(kMaxRank));
  }
  Tensor tensor;
  tensor.dtype = dtype;
  tensor.rank = static_cast<int>(extents.ElementLength());
  int64_t elements = 1;
  int64_t size = 1;  // as if no extent were zero, so that no partial product overflows either
  for (int i = tensor.rank - 1; i >= 0; --i) {
    const double extent = extents[i];
    if (!(extent >= 0 && extent <= 9007199254740991.0) ||
        static_cast<double>(static_cast<int64_t>(extent)) != extent) {
      throw Error(Code::kShape, std::string(op) + ": an extent is not a whole number >= 0");
    }
    tensor.shape[i] = static_cast<int64_t>(extent);
    tensor.stride[i] = elements;
    if (__builtin_mul_overflow(size, std::max<int64_t>(tensor.shape[i], 1), &size) ||
        size > (int64_t{1} << 52)) {
      throw Error(Code::kShape, std::string(op) + ": the shape has too many elements");
    }
    elements *= tensor.shape[i];
  }
  return tensor;
}

Napi::Value WrapDevice(Napi::Env env, std::shared_ptr<Device> device) {
  auto handle = std::make_unique<DeviceHandle>();
  handle->device = std::move(device);
  handle->device->on_memory = [env](int64_t change) {
    Napi::MemoryManagement::AdjustExternalMemory(env, change);
  };
  handle->deliver = Napi::ThreadSafeFunction::New(
      env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "nibble device", 0, 1);
  handle->deliver.Unref(env);
  // Hooks run last first, so this one runs before that of `deliver`.
  napi_add_env_cleanup_hook(env, AbandonDevice, handle.get());
  return WrapTagged(env, handle.release(), kDeviceTag);
}

Napi::Value OpenDevice(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("openDevice", info);
    const int threads = static_cast<int>(in.Integer(1, 1024));
    const std::string name = in.String();
    Isa isa = DetectIsa();
    for (const Isa level : kIsaLevels) {
      if (name != IsaName(level)) continue;
      if (level > isa) {
        throw Error(Code::kUnsupported, "openDevice: this processor has no " + name);
      }
      isa = level;
    }
    return WrapDevice(info.Env(), std::make_shared<Device>(threads, isa));
  });
}

// openCudaDevice(library, device, cuBLASLt, cuSOLVER): the last two as in VendorFiles
Napi::Value OpenCudaDevice(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("openCudaDevice", info);
    const cuda::Library library(in.String());
    const auto device = static_cast<int32_t>(in.Integer(0, 1023));
    const std::string cublas_lt = in.String();
    return WrapDevice(info.Env(),
                      std::make_shared<Device>(library.Open(device, cublas_lt, in.String())));
  });
}

// cudaDevices(library): [name, bytes of memory, compute capability, multiprocessors] of each
Napi::Value CudaDevices(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    const Napi::Env env = info.Env();
    Arguments in("cudaDevices", info);
    const cuda::Library library(in.String());
    Napi::Array rows = Napi::Array::New(env);
    for (const cuda::DeviceDescription& device : library.Devices()) {
      Napi::Array row = Napi::Array::New(env, 4);
      row.Set(0u, Napi::String::New(env, device.name));
      row.Set(1u, Napi::Number::New(env, static_cast<double>(device.memory_bytes)));
      row.Set(2u, Napi::String::New(
                      env, std::to_string(device.major) + "." + std::to_string(device.minor)));
      row.Set(3u, Napi::Number::New(env, device.multiprocessors));
      rows.Set(rows.Length(), row);
    }
    return rows;
  });
}

// vendorLibraries(device): what Accelerator::VendorLibraries says
Napi::Value VendorLibraries(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("vendorLibraries", info);
    Accelerator* accelerator = in.Device().device->accelerator();
    return Napi::String::New(info.Env(),
                             accelerator == nullptr ? "" : accelerator->VendorLibraries());
  });
}

Napi::Value CloseDevice(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    DeviceHandle& handle = UnwrapTagged<DeviceHandle>(info[0], kDeviceTag, "a device");
    handle.closed = true;
    if (handle.waits == 0) EndDevice(info.Env(), handle);  // else the last answer does
    return info.Env().Undefined();
  });
}

Napi::Value DetectedIsa(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), IsaName(DetectIsa()));
}

// memory(device): [live, cached, peak] bytes; resets the peak when asked.
Napi::Value Memory(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("memory", info);
    Allocator& allocator = in.Device().device->allocator();
    auto result = Napi::Float64Array::New(info.Env(), 3);
    result[0] = static_cast<double>(allocator.live_bytes());
    result[1] = static_cast<double>(allocator.cached_bytes());
    result[2] = static_cast<double>(allocator.peak_bytes());
    if (in.Boolean()) allocator.ResetPeak();
    return result;
  });
}

Napi::Value Allocate(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("allocate", info);
    DeviceHandle& device = in.Device();
    const DType dtype = in.Dtype();
    Tensor view = ParseShape("allocate", in.Any(), dtype);
    auto storage = std::make_shared<Storage>(device.device, view.elements() * DTypeBytes(dtype));
    view.data = storage->data();
    // Also what no operation names: its memory may be one that recorded operations write.
    if (device.device->recording != nullptr) device.device->recording->Add(storage);
    return WrapTensor(info.Env(), std::move(storage), view);
  });
}

// clear(tensor): zeros, in stream order.
Napi::Value Clear(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("clear", info);
    const Tensor tensor = in.Output();
    if (!tensor.contiguous()) {
      throw Error(Code::kShape, "clear: " + Describe(tensor) + " is not contiguous");
    }
    Device& device = *UnwrapTensor(info[0]).storage->device();
    device.Enqueue([&device, tensor] { device.Clear(tensor.data, tensor.extent()); });
    return info.Env().Undefined();
  });
}

// narrow(tensor, dimension, start, length)
Napi::Value Narrow(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("narrow", info);
    const Tensor source = in.Tensor();
    const std::shared_ptr<Storage> storage = UnwrapTensor(info[0]).storage;
    const int64_t dimension = in.Integer(0, kMaxRank - 1);
    const int64_t start = in.Integer();
    const int64_t length = in.Integer();
    if (dimension >= source.rank || start < 0 || length < 0 || length > source.shape[dimension] ||
        start > source.shape[dimension] - length) {
      throw Error(Code::kShape, "narrow: " + std::to_string(start) + " + " +
                                    std::to_string(length) + " along dimension " +
                                    std::to_string(dimension) + " is outside " + Describe(source));
    }
    Tensor view = source;
    view.shape[dimension] = length;
    view.data += start * source.stride[dimension] * DTypeBytes(source.dtype);
    return WrapTensor(info.Env(), storage, view);
  });
}

Napi::Value Reshape(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("reshape", info);
    const Tensor source = in.Tensor();
    Tensor view = ParseShape("reshape", in.Any(), source.dtype);
    if (!source.contiguous() || view.elements() != source.elements()) {
      throw Error(Code::kShape, "reshape: " + Describe(source) + " cannot become " +
                                    Describe(view) + "; it must be contiguous and as large");
    }
    view.data = source.data;
    return WrapTensor(info.Env(), UnwrapTensor(info[0]).storage, view);
  });
}

Napi::Value Dispose(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    UnwrapTensor(info[0]).storage.reset();
    return info.Env().Undefined();
  });
}

Napi::Value MapFile(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("mapFile", info);
    auto file = std::make_shared<MappedFile>(in.String());
    return WrapTagged(info.Env(), new MappedHandle(std::move(file)), kFileTag);
  });
}

Napi::Value UnmapFile(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    UnwrapTagged<MappedHandle>(info[0], kFileTag, "a mapped file").reset();
    return info.Env().Undefined();
  });
}

void RequireInside(const MappedFile& file, int64_t offset, int64_t bytes) {
  if (offset < 0 || bytes < 0 || bytes > file.bytes() || offset > file.bytes() - bytes) {
    throw Error(Code::kFile, file.path() + ": " + std::to_string(bytes) + " bytes at " +
                                 std::to_string(offset) + " are not inside the file of " +
                                 std::to_string(file.bytes()) + " bytes");
  }
}

// evict(device, file, byte offset, bytes), in stream order
Napi::Value Evict(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("evict", info);
    DeviceHandle& device = in.Device();
    const MappedHandle file = UnwrapTagged<MappedHandle>(in.Any(), kFileTag, "a mapped file");
    if (file == nullptr) throw Error(Code::kValue, "evict: the file was unmapped");
    const int64_t offset = in.Integer();
    const int64_t bytes = in.Integer();
    RequireInside(*file, offset, bytes);
    device.device->stream().PushAlways(
        [file, offset, bytes](const std::optional<Error>&) { file->Evict(offset, bytes); });
    return info.Env().Undefined();
  });
}

// mapTensor(device, file, byte offset, dtype, shape, whether it stays on the host, whether it is
// copied beside the operations): a view of the file, or a copy of it where the offset does not suit
// the dtype or the device has memory of its own.
Napi::Value MapTensor(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("mapTensor", info);
    DeviceHandle& device = in.Device();
    const MappedHandle file = UnwrapTagged<MappedHandle>(in.Any(), kFileTag, "a mapped file");
    if (file == nullptr) throw Error(Code::kValue, "mapTensor: the file was unmapped");
    const int64_t offset = in.Integer();
    const DType dtype = in.Dtype();
    Tensor view = ParseShape("mapTensor", in.Any(), dtype);
    const int64_t bytes = view.elements() * DTypeBytes(dtype);
    RequireInside(*file, offset, bytes);
    const bool is_host = device.device->accelerator() == nullptr;
    const bool is_copied = !is_host && bytes > 0;
    const bool is_pinned = in.Boolean() && is_copied;
    // A graph reads the file whenever it runs.
    const bool is_prefetched =
        in.Boolean() && is_copied && !is_pinned && device.device->recording == nullptr;
    if (is_host && offset % DTypeBytes(dtype) == 0 && bytes > 0) {
      auto storage = std::make_shared<Storage>(device.device, file);
      view.data = storage->data() + offset;
      return WrapTensor(info.Env(), std::move(storage), view);
    }
    auto storage = is_pinned ? std::make_shared<Storage>(device.device, bytes, Storage::Pinned())
                             : std::make_shared<Storage>(device.device, bytes);
    storage->ForbidWriting();  // as it is where it is a view
    view.data = storage->data();
    if (is_prefetched) {
      storage->Upload(file, offset, bytes);
      return WrapTensor(info.Env(), std::move(storage), view);
    }
    if (device.device->recording != nullptr) device.device->recording->Add(storage);
    device.device->Enqueue(
        [&to = *device.device, file, offset, bytes, data = view.data, is_pinned] {
          if (is_pinned) {
            std::memcpy(data, file->data() + offset, bytes);
          } else {
            to.Write(data, file->data() + offset, bytes);
          }
        });
    return WrapTensor(info.Env(), std::move(storage), view);
  });
}

// write(tensor, typed array): copies the bytes during the call, stores them in stream order.
Napi::Value Write(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("write", info);
    const Tensor tensor = in.Tensor();
    const std::shared_ptr<Storage>& storage = UnwrapTensor(info[0]).storage;
    const Napi::Value value = in.Any();
    if (!value.IsTypedArray()) throw Error(Code::kValue, "write: the source is no typed array");
    const auto source = value.As<Napi::TypedArray>();
    const size_t bytes = tensor.elements() * DTypeBytes(tensor.dtype);
    if (!storage->writable() || !tensor.contiguous() || source.ByteLength() != bytes) {
      throw Error(Code::kShape, "write: " + std::to_string(source.ByteLength()) +
                                    " bytes do not fit " + Describe(tensor) +
                                    ", which must be contiguous and not a mapped file");
    }
    const auto* from =
        static_cast<const std::byte*>(source.ArrayBuffer().Data()) + source.ByteOffset();
    Device& device = *storage->device();
    device.Enqueue([&device, to = tensor.data, copy = std::vector<std::byte>(from, from + bytes)] {
      device.Write(to, copy.data(), copy.size());
    });
    return info.Env().Undefined();
  });
}

struct Wait {
  Napi::Promise::Deferred deferred;
  Napi::Reference<Napi::ArrayBuffer> buffer;  // empty for sync()
  Napi::ObjectReference device;               // keeps the handle until the answer is delivered
};

// Settles `wait` on the JavaScript thread once the stream has come to `task`.
Napi::Value Await(Napi::Env env, const Napi::Value& device_value, DeviceHandle& handle,
                  Napi::ArrayBuffer buffer, std::function<void()> task) {
  if (handle.device->recording != nullptr) {
    throw Error(Code::kValue, "sync and read cannot wait for operations that are being captured");
  }
  auto* wait = new Wait{Napi::Promise::Deferred::New(env), {}, {}};
  if (!buffer.IsEmpty()) wait->buffer = Napi::Persistent(buffer);
  wait->device = Napi::Persistent(device_value.As<Napi::Object>());
  if (handle.waits++ == 0) handle.deliver.Ref(env);
  const Napi::Promise promise = wait->deferred.Promise();
  // Itself an operation, since it may find a fault.
  if (task) handle.device->stream().Push(std::move(task));
  handle.device->stream().PushAlways([wait, &handle](const std::optional<Error>& fault) {
    handle.deliver.NonBlockingCall([wait, &handle, fault](Napi::Env env, Napi::Function) {
      const std::unique_ptr<Wait> owner(wait);
      if (--handle.waits == 0) {
        handle.deliver.Unref(env);
        if (handle.closed) EndDevice(env, handle);
      }
      if (fault) {
        wait->deferred.Reject(ToJsError(env, *fault).Value());
      } else if (wait->buffer.IsEmpty()) {
        wait->deferred.Resolve(env.Undefined());
      } else {
        wait->deferred.Resolve(wait->buffer.Value());
      }
    });
  });
  return promise;
}

Napi::Value Sync(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    DeviceHandle& handle = UnwrapDevice(info[0]);
    Accelerator* accelerator = handle.device->accelerator();
    std::function<void()> wait;
    if (accelerator != nullptr) wait = [accelerator] { accelerator->Synchronize(); };
    return Await(info.Env(), info[0], handle, {}, std::move(wait));
  });
}

// read(device, tensor): the bytes of a contiguous tensor as an ArrayBuffer.
Napi::Value Read(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Arguments in("read", info);
    DeviceHandle& device = in.Device();
    const Tensor tensor = in.Tensor();
    if (!tensor.contiguous()) {
      throw Error(Code::kShape, "read: " + Describe(tensor) + " is not contiguous; copy it first");
    }
    const size_t bytes = tensor.elements() * DTypeBytes(tensor.dtype);
    auto buffer = Napi::ArrayBuffer::New(info.Env(), bytes);
    return Await(
        info.Env(), info[0], device, buffer,
        [&of = *device.device, from = tensor.data, to = static_cast<std::byte*>(buffer.Data()),
         bytes] { of.Read(to, from, bytes); });
  });
}

}  // namespace

template <>
void Finalize(Napi::Env env, DeviceHandle* handle) {
  EndDevice(env, *handle);
  delete handle;
}

Napi::Error ToJsError(Napi::Env env, const Error& error) {
  Napi::Error js = Napi::Error::New(env, error.what());
  js.Set("code", CodeName(error.code()));
  return js;
}

Napi::Value WrapTensor(Napi::Env env, std::shared_ptr<Storage> storage, const Tensor& view) {
  return WrapTagged(env, new TensorHandle{std::move(storage), view}, kTensorTag);
}

TensorHandle& UnwrapTensor(const Napi::Value& value) {
  return UnwrapTagged<TensorHandle>(value, kTensorTag, "a tensor");
}

DeviceHandle& UnwrapDevice(const Napi::Value& value) {
  DeviceHandle& handle = UnwrapTagged<DeviceHandle>(value, kDeviceTag, "a device");
  if (handle.closed) throw Error(Code::kDevice, "the device was closed");
  return handle;
}

void RegisterHandles(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("openDevice", OpenDevice);
  add("openCudaDevice", OpenCudaDevice);
  add("cudaDevices", CudaDevices);
  add("vendorLibraries", VendorLibraries);
  add("closeDevice", CloseDevice);
  add("detectedIsa", DetectedIsa);
  add("memory", Memory);
  add("allocate", Allocate);
  add("clear", Clear);
  add("narrow", Narrow);
  add("reshape", Reshape);
  add("dispose", Dispose);
  add("mapFile", MapFile);
  add("unmapFile", UnmapFile);
  add("mapTensor", MapTensor);
  add("evict", Evict);
  add("write", Write);
  add("sync", Sync);
  add("read", Read);
}

}  // namespace kernels::binding
