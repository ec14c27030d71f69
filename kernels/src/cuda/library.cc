#include "cuda/library.h"

#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <utility>

#include "core/error.h"
#include "cuda/failure.h"

namespace kernels::cuda {

namespace {

class Session : public Accelerator {
 public:
  Session(const Backend& backend, void* session) : backend_(backend), session_(session) {}
  ~Session() override { backend_.close(session_); }

  std::byte* Allocate(size_t bytes) override {
    return Given([&](Failure* failure) { return backend_.allocate(session_, bytes, failure); });
  }
  void Release(std::byte* data) override { backend_.release(session_, data); }
  std::byte* AllocatePinned(size_t bytes) override {
    return Given(
        [&](Failure* failure) { return backend_.allocate_pinned(session_, bytes, failure); });
  }
  void ReleasePinned(std::byte* data) override { backend_.release_pinned(session_, data); }
  void Write(std::byte* to, const std::byte* host, size_t bytes) override {
    Call([&](Failure* failure) { return backend_.write(session_, to, host, bytes, failure); });
  }
  void Upload(uint64_t number, std::byte* to, size_t bytes, UploadReader reader) override {
    auto context = std::make_unique<UploadReader>(std::move(reader));
    const UploadSource source = {context.release(), ReadPart, ReleaseReader};
    Call([&](Failure* failure) {
      return backend_.upload(session_, number, to, bytes, source, failure);
    });
  }
  void AwaitUploads(uint64_t number) override {
    Call([&](Failure* failure) { return backend_.await_uploads(session_, number, failure); });
  }
  void DropUpload(uint64_t number) override { backend_.drop_upload(session_, number); }
  void Clear(std::byte* data, size_t bytes) override {
    Call([&](Failure* failure) { return backend_.clear(session_, data, bytes, failure); });
  }
  void Read(std::byte* host, const std::byte* from, size_t bytes) override {
    Call([&](Failure* failure) { return backend_.read(session_, host, from, bytes, failure); });
  }
  std::string VendorLibraries() override {
    char text[256] = {};
    Call([&](Failure* failure) {
      return backend_.describe_libraries(session_, text, sizeof text, failure);
    });
    return text;
  }
  void Synchronize() override {
    Call([&](Failure* failure) { return backend_.synchronize(session_, failure); });
  }

  Found Find(const char* name, size_t argument_bytes) override {
    for (uint64_t i = 0; i < backend_.operation_count; ++i) {
      const OperationEntry& entry = backend_.operations[i];
      if (std::strcmp(entry.name, name) != 0) continue;
      if (entry.argument_bytes != argument_bytes) break;
      return {this, &Session::Run, &entry};
    }
    throw Error(Code::kUnsupported, std::string(name) + ": not available on a GPU");
  }

  bool BeginCapture() override {
    if (backend_.begin_capture == nullptr) return false;
    Call([&](Failure* failure) { return backend_.begin_capture(session_, failure); });
    return true;
  }
  void* EndCapture() override {
    void* graph = nullptr;
    Call([&](Failure* failure) {
      graph = backend_.end_capture(session_, failure);
      return graph != nullptr;
    });
    return graph;
  }
  void Launch(void* graph) override {
    Call([&](Failure* failure) { return backend_.launch(session_, graph, failure); });
  }
  void ReleaseGraph(void* graph) override { backend_.release_graph(session_, graph); }

 private:
  template <class Body>
  static void Call(Body body) {
    Failure failure;
    if (!body(&failure)) throw Error(failure.code, failure.message);
  }
  template <class Body>
  static std::byte* Given(Body body) {
    Failure failure;
    auto* data = static_cast<std::byte*>(body(&failure));
    if (data == nullptr && failure.message[0] != '\0') throw Error(failure.code, failure.message);
    return data;
  }
  static bool ReadPart(void* reader, void* to, uint64_t begin, uint64_t bytes, Failure* failure) {
    return Protect(failure, [&] {
      (*static_cast<UploadReader*>(reader))(static_cast<std::byte*>(to), begin, bytes);
    });
  }
  static void ReleaseReader(void* reader) { delete static_cast<UploadReader*>(reader); }
  static void Run(Accelerator& accelerator, const void* entry, const void* args) {
    Call([&](Failure* failure) {
      return static_cast<const OperationEntry*>(entry)->run(
          static_cast<Session&>(accelerator).session_, args, failure);
    });
  }

  const Backend& backend_;
  void* session_;
};

}  // namespace

Library::Library(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    throw Error(
        Code::kUnsupported,
        "the CUDA kernels could not be loaded (\"npm run build:cuda\" makes them, with CUDA's "
        "compiler): " +
            std::string(dlerror()));
  }
  using Entry = const Backend* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(handle, kNibbleCudaBackendSymbol));
  if (entry == nullptr) {
    throw Error(Code::kUnsupported, path + ": is no library of CUDA kernels");
  }
  backend_ = entry();
  if (backend_ == nullptr || backend_->version != kBackendVersion ||
      backend_->table_bytes != sizeof(Backend)) {
    throw Error(Code::kUnsupported,
                path + ": was built for another version; run \"npm run build:cuda\" again");
  }
}

std::vector<DeviceDescription> Library::Devices() const {
  Failure failure;
  int32_t count = 0;
  if (!backend_->count_devices(&count, &failure)) throw Error(failure.code, failure.message);
  std::vector<DeviceDescription> devices(count);
  for (int32_t i = 0; i < count; ++i) {
    if (!backend_->describe(i, &devices[i], &failure)) throw Error(failure.code, failure.message);
  }
  return devices;
}

std::unique_ptr<Accelerator> Library::Open(int32_t device, const std::string& cublas_lt,
                                           const std::string& cusolver) const {
  Failure failure;
  const VendorChoice choice{cublas_lt.c_str(), cusolver.c_str()};
  void* session = backend_->open(device, &choice, &failure);
  if (session == nullptr) throw Error(failure.code, failure.message);
  return std::make_unique<Session>(*backend_, session);
}

}  // namespace kernels::cuda
