#include "cuda/session.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "core/error.h"

namespace kernels::cuda {

namespace {

std::vector<const char*>& FaultTexts() {
  static std::vector<const char*> texts;
  return texts;
}

void ThrowFault(const FaultRecord& fault) {
  const std::string expected =
      std::to_string(fault.lowest) + " to " + std::to_string(fault.limit - 1);
  throw Error(Code::kValue, std::string(FaultTexts()[fault.operation]) + "[" +
                                std::to_string(fault.index) + "] is " +
                                std::to_string(fault.value) + "; expected " + expected);
}

Session& Of(void* session) {
  auto& entered = *static_cast<Session*>(session);
  entered.Enter();
  return entered;
}

bool CountDevices(int32_t* count, Failure* failure) {
  return Protect(failure, [&] { *count = platform::CountDevices(); });
}

bool DescribeDevice(int32_t device, DeviceDescription* description, Failure* failure) {
  return Protect(failure, [&] { platform::DescribeDevice(device, description); });
}

void* Open(int32_t device, const VendorChoice* choice, Failure* failure) {
  Session* session = nullptr;
  Protect(failure, [&] {
    const int32_t count = platform::CountDevices();
    if (device >= count) {
      throw Error(Code::kUnsupported, "there is no GPU " + std::to_string(device) + "; " +
                                          std::to_string(count) + " found");
    }
    auto opened = std::make_unique<Session>(device, *choice);
    opened->OpenChosenLibraries();
    session = opened.release();
  });
  return session;
}

// For what gives something back: a device that has failed must not keep it from ending.
void Settle(Session& session) noexcept {
  Failure ignored;
  Protect(&ignored, [&] {
    session.Enter();
    platform::Wait(session.stream());
  });
}

void Close(void* session) {
  Settle(*static_cast<Session*>(session));
  delete static_cast<Session*>(session);
}

bool DescribeLibraries(void* session, char* text, uint64_t bytes, Failure* failure) {
  return Protect(failure, [&] {
    const std::string all = static_cast<const Session*>(session)->DescribeLibraries();
    std::snprintf(text, bytes, "%s", all.c_str());
  });
}

void* Allocate(void* session, uint64_t bytes, Failure* failure) {
  void* data = nullptr;
  Protect(failure, [&] {
    Of(session);
    data = platform::Allocate(bytes);
  });
  return data;
}

void Release(void* session, void* data) {
  Settle(*static_cast<Session*>(session));
  platform::Release(data);
}

void* AllocatePinned(void* session, uint64_t bytes, Failure* failure) {
  void* data = nullptr;
  Protect(failure, [&] {
    Of(session);
    data = platform::AllocatePinned(bytes);
  });
  return data;
}

void ReleasePinned(void* session, void* data) {
  Settle(*static_cast<Session*>(session));
  platform::ReleasePinned(data);
}

bool Write(void* session, void* to, const void* host, uint64_t bytes, Failure* failure) {
  return Protect(failure, [&] { platform::CopyIn(to, host, bytes, Of(session).stream()); });
}

bool Clear(void* session, void* data, uint64_t bytes, Failure* failure) {
  return Protect(failure, [&] { platform::Clear(data, bytes, Of(session).stream()); });
}

bool Upload(void* session, uint64_t number, void* to, uint64_t bytes, UploadSource source,
            Failure* failure) {
  OwnSource owned(source);
  return Protect(failure, [&] { Of(session).uploads().Add(number, to, bytes, std::move(owned)); });
}

bool AwaitUploads(void* session, uint64_t number, Failure* failure) {
  return Protect(failure, [&] { Of(session).uploads().Await(number); });
}

void DropUpload(void* session, uint64_t number) {
  Failure ignored;
  Protect(&ignored, [&] { Of(session).uploads().Drop(number); });
}

bool Read(void* session, void* host, const void* from, uint64_t bytes, Failure* failure) {
  return Protect(failure, [&] {
    platform::CopyOut(host, from, bytes, Of(session).stream());
    Of(session).Synchronize();
  });
}

bool Synchronize(void* session, Failure* failure) {
  return Protect(failure, [&] { Of(session).Synchronize(); });
}

bool BeginCapture(void* session, Failure* failure) {
  return Protect(failure, [&] { Of(session).BeginCapture(); });
}

void* EndCapture(void* session, Failure* failure) {
  void* graph = nullptr;
  Protect(failure, [&] { graph = Of(session).EndCapture(); });
  return graph;
}

bool Launch(void* session, void* graph, Failure* failure) {
  return Protect(failure, [&] { platform::LaunchGraph(graph, Of(session).stream()); });
}

// Its copies read the host's memory when it runs.
void ReleaseGraph(void* session, void* graph) {
  Settle(*static_cast<Session*>(session));
  platform::DeleteGraph(graph);
}

}  // namespace

std::vector<OperationEntry>& Entries() {
  // In a function: the operations that add to it are initialized in no particular order.
  static std::vector<OperationEntry> entries;
  return entries;
}

int32_t RegisterFault(const char* text) {
  FaultTexts().push_back(text);
  return static_cast<int32_t>(FaultTexts().size() - 1);
}

void platform::ThrowTooLittleShared(size_t bytes, size_t limit) {
  throw Error(Code::kUnsupported, "a kernel needs " + std::to_string(bytes) +
                                      " bytes of shared memory for these shapes; a block has " +
                                      std::to_string(limit) + " on this GPU");
}

Session::Session(int32_t device, const VendorChoice& choice)
    : device_(device), chosen_cublas_lt_(choice.cublas_lt), chosen_cusolver_(choice.cusolver) {
  DeviceDescription description{};
  platform::UseDevice(device);
  platform::DescribeDevice(device, &description);
  if (description.major < 8) {
    throw Error(Code::kUnsupported, std::string(description.name) + " has compute capability " +
                                        std::to_string(description.major) + "." +
                                        std::to_string(description.minor) +
                                        "; 8.0 is the least that there are kernels for");
  }
  multiprocessors_ = description.multiprocessors;
  stream_ = platform::NewStream();
  faults_ = static_cast<FaultRecord*>(platform::Allocate(sizeof(FaultRecord)));
  if (faults_ == nullptr) {
    platform::DeleteStream(stream_);
    throw Error(Code::kOutOfMemory, "the GPU has no memory left");
  }
  platform::Clear(faults_, sizeof(FaultRecord), stream_);
}

void Session::OpenChosenLibraries() {
  if (!chosen_cublas_lt_.empty()) cublas_lt();
  if (!chosen_cusolver_.empty()) cusolver();
}

Session::~Session() {
  cublas_lt_.reset();
  cusolver_.reset();
  uploads_.reset();
  for (void* scratch : retired_scratch_) platform::Release(scratch);
  platform::Release(scratch_);
  platform::Release(faults_);
  platform::DeleteStream(stream_);
}

void Session::Enter() const {
  platform::UseDevice(device_);
}

Uploads& Session::uploads() {
  if (!uploads_) uploads_ = std::make_unique<Uploads>(device_, stream_);
  return *uploads_;
}

void Session::Synchronize() {
  FaultRecord fault;
  platform::CopyOut(&fault, faults_, sizeof fault, stream_);
  platform::Wait(stream_);
  if (fault.reported != 0) ThrowFault(fault);
}

std::string Session::DescribeLibraries() const {
  Enter();
  const auto blas = CublasLt::Open(chosen_cublas_lt_);
  const auto solver = Cusolver::Open(chosen_cusolver_, stream_);
  const std::string first = blas == nullptr ? "" : blas->Describe();
  const std::string second = solver == nullptr ? "" : solver->Describe();
  return first.empty() || second.empty() ? first + second : first + ", " + second;
}

const CublasLt* Session::cublas_lt() {
  if (!cublas_lt_.has_value()) cublas_lt_ = CublasLt::Open(chosen_cublas_lt_);
  return cublas_lt_->get();
}

const Cusolver* Session::cusolver() {
  if (!cusolver_.has_value()) cusolver_ = Cusolver::Open(chosen_cusolver_, stream_);
  return cusolver_->get();
}

void Session::BeginCapture() {
  platform::BeginCapture(stream_);
  is_capturing_ = true;
  has_graphs_ = true;
}

void* Session::EndCapture() {
  is_capturing_ = false;
  return platform::EndCapture(stream_);
}

void* Session::ScratchBytes(uint64_t bytes) {
  if (bytes <= scratch_bytes_) return scratch_;
  if (is_capturing_) {
    throw Error(Code::kInternal, "an operation needs more scratch memory than when it last ran");
  }
  if (has_graphs_) {
    retired_scratch_.push_back(scratch_);
  } else {
    platform::Wait(stream_);
    platform::Release(scratch_);
  }
  scratch_bytes_ = std::max(bytes, 2 * scratch_bytes_);
  scratch_ = platform::Allocate(scratch_bytes_);
  if (scratch_ == nullptr && scratch_bytes_ > bytes) {
    scratch_bytes_ = bytes;
    scratch_ = platform::Allocate(bytes);
  }
  if (scratch_ == nullptr) {
    scratch_bytes_ = 0;
    throw Error(Code::kOutOfMemory,
                "no memory on the GPU for " + std::to_string(bytes) + " bytes of scratch");
  }
  return scratch_;
}

}  // namespace kernels::cuda

// What the addon looks up.
extern "C" __attribute__((visibility("default"))) const kernels::cuda::Backend*
NibbleCudaBackend() {
  using namespace kernels::cuda;
  static const Backend backend = [] {
    const bool graphs = platform::HasGraphs();
    Backend table{};
    table.version = kBackendVersion;
    table.table_bytes = sizeof(Backend);
    table.name = platform::Name();
    table.count_devices = CountDevices;
    table.describe = DescribeDevice;
    table.describe_libraries = DescribeLibraries;
    table.open = Open;
    table.close = Close;
    table.allocate = Allocate;
    table.release = Release;
    table.allocate_pinned = AllocatePinned;
    table.release_pinned = ReleasePinned;
    table.write = Write;
    table.upload = Upload;
    table.await_uploads = AwaitUploads;
    table.drop_upload = DropUpload;
    table.clear = Clear;
    table.read = Read;
    table.synchronize = Synchronize;
    table.begin_capture = graphs ? BeginCapture : nullptr;
    table.end_capture = EndCapture;
    table.launch = Launch;
    table.release_graph = ReleaseGraph;
    table.operations = Entries().data();
    table.operation_count = Entries().size();
    return table;
  }();
  return &backend;
}
