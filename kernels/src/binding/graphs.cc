#include "binding/graphs.h"

#include <memory>
#include <optional>
#include <utility>

#include "binding/arguments.h"
#include "binding/handles.h"

namespace kernels::binding {

namespace {

// A recording that ended, with the device that runs it; `recording` is null after disposeGraph().
struct GraphHandle {
  std::shared_ptr<Device> device;
  std::shared_ptr<Recording> recording;

  GraphHandle(std::shared_ptr<Device> of, std::shared_ptr<Recording> recorded)
      : device(std::move(of)), recording(std::move(recorded)) {}
  ~GraphHandle() { Drop(); }
  // The operations end on the stream, after what was replayed.
  void Drop() {
    if (recording == nullptr) return;
    device->stream().PushAlways(
        [operations = std::move(recording->operations)](const std::optional<Error>&) {});
    recording.reset();
    device.reset();
  }
};

constexpr napi_type_tag kGraphTag = {0x60d2a7f14be93c85, 0xb17c5e08d94f2a63};

// beginCapture(device)
Napi::Value BeginCapture(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    Device& device = *UnwrapDevice(info[0]).device;
    if (device.recording != nullptr) {
      throw Error(Code::kValue, "a capture began while another was in progress");
    }
    device.recording = std::make_shared<Recording>(device.accelerator());
    return info.Env().Undefined();
  });
}

// endCapture(device): the graph.
Napi::Value EndCapture(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    const std::shared_ptr<Device>& device = UnwrapDevice(info[0]).device;
    if (device->recording == nullptr) throw Error(Code::kValue, "no capture is in progress");
    const std::shared_ptr<Recording> recording = std::exchange(device->recording, nullptr);
    recording->End(device);
    return WrapTagged(info.Env(), new GraphHandle(device, recording), kGraphTag);
  });
}

// replay(graph)
Napi::Value Replay(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    const auto& graph = UnwrapTagged<GraphHandle>(info[0], kGraphTag, "a graph");
    if (graph.recording == nullptr) throw Error(Code::kValue, "the graph was disposed");
    // A capture around it needs the memory too.
    if (graph.device->recording != nullptr) graph.device->recording->Use(*graph.recording);
    // Only the operations: this may be the last to let go of them, on the stream's thread.
    graph.device->Enqueue([operations = graph.recording->operations] { operations->Run(); });
    return info.Env().Undefined();
  });
}

Napi::Value DisposeGraph(const Napi::CallbackInfo& info) {
  return Guard(info.Env(), [&]() -> Napi::Value {
    UnwrapTagged<GraphHandle>(info[0], kGraphTag, "a graph").Drop();
    return info.Env().Undefined();
  });
}

}  // namespace

void RegisterGraphs(Napi::Env env, Napi::Object exports) {
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("beginCapture", BeginCapture);
  add("endCapture", EndCapture);
  add("replay", Replay);
  add("disposeGraph", DisposeGraph);
}

}  // namespace kernels::binding
