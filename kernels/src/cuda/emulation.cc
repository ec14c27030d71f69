#include "cuda/emulation.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "cuda/fiber.h"

namespace kernels::cuda::emulation {

namespace {

constexpr unsigned kWarp = 32;
constexpr int kPoison = 0xff;  // a NaN, and no index

// xorshift64*: the order of blocks and threads, another one in every grid and on every device.
class Random {
 public:
  Random() {
    static std::atomic<uint64_t> devices = 0;
    state_ ^= ++devices * 0xbf58476d1ce4e5b9ull;
  }
  uint64_t Next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dull;
  }
  template <class T>
  void Shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[Next() % i]);
  }

 private:
  uint64_t state_ = 0x9e3779b97f4a7c15ull;
};

struct Copy {
  void* to;
  std::vector<std::byte> bytes;
  int group;
};

enum class State : uint8_t { kReady, kAtBlock, kAtWarp, kEnded };

struct Thread {
  Place place;
  State state = State::kReady;
  Fiber fiber;
  std::vector<Copy> copies;
  int copy_group = 0;
  unsigned meetings = 0;  // of the warp
};

// The values of two meetings: a lane may come to the next while others still read the last.
struct Warp {
  std::byte values[2][kWarp][kExchangeBytes];
};

// "file.cu:line", the file by the end of its path.
std::string Name(const Site& site) {
  const std::string path = site.file_name();
  const size_t folder = path.rfind('/', path.rfind('/') - 1);
  return path.substr(folder == std::string::npos ? 0 : folder + 1) + ":" +
         std::to_string(site.line());
}

// What the environment asked for when the grid began.
struct Mutations {
  std::string skipped;
  std::string log;
  std::set<std::string> logged;

  void Read() {
    const char* skip = std::getenv("NIBBLE_EMULATION_SKIP");
    skipped = skip == nullptr ? "" : skip;
    const char* sites = std::getenv("NIBBLE_EMULATION_SITES");
    if (log != (sites == nullptr ? "" : sites)) logged.clear();
    log = sites == nullptr ? "" : sites;
  }
  void Log(const std::string& name) {
    if (!logged.insert(name).second) return;
    std::ofstream(log, std::ios::app) << name << "\n";
  }
};

// All that runs on one thread of the host: one grid at a time, one block at a time.
struct Machine {
  Random random;
  FiberPool fibers;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::map<const void*, std::pair<std::unique_ptr<std::byte[]>, size_t>> shared;
  std::unique_ptr<std::byte[]> dynamic_shared;
  Thread* current = nullptr;
  const std::function<void()>* body = nullptr;
  std::exception_ptr error;
  Mutations mutations;
};

Machine& TheMachine() {
  thread_local Machine machine;
  return machine;
}

unsigned IndexOf(const Thread& thread) {
  return static_cast<unsigned>(&thread - TheMachine().threads.data());
}

void RunThread(void*) {
  Machine& machine = TheMachine();
  try {
    (*machine.body)();
    if (!machine.current->copies.empty()) {
      throw Error(Code::kInternal, "emulation: a thread ended before it waited for its copies");
    }
  } catch (...) {
    if (machine.error == nullptr) machine.error = std::current_exception();
  }
  machine.current->state = State::kEnded;
  machine.fibers.Leave(machine.current->fiber);
}

void Resume(Machine& machine, Thread& thread) {
  machine.current = &thread;
  thread.state = State::kReady;
  machine.fibers.Enter(thread.fiber);
  machine.current = nullptr;
}

// Adds the threads of warps from `begin` to `end` that are complete at their meeting.
void ReleaseWarps(Machine& machine, size_t begin, size_t end, std::vector<Thread*>& ready) {
  for (size_t first = begin; first < end; first += kWarp) {
    const auto warp = machine.threads.begin() + static_cast<ptrdiff_t>(first);
    const auto last =
        machine.threads.begin() + static_cast<ptrdiff_t>(std::min(first + kWarp, end));
    if (std::any_of(warp, last, [](const Thread& t) { return t.state != State::kAtWarp; }))
      continue;
    for (auto thread = warp; thread != last; ++thread) ready.push_back(&*thread);
  }
}

// Runs threads, whole warps, to the next meeting of the block or to their end.
void Advance(Machine& machine, size_t begin, size_t end) {
  std::vector<Thread*> ready;
  for (size_t i = begin; i < end; ++i) ready.push_back(&machine.threads[i]);
  while (!ready.empty()) {
    machine.random.Shuffle(ready);
    for (Thread* thread : ready) {
      Resume(machine, *thread);
      if (machine.error != nullptr) return;
    }
    ready.clear();
    ReleaseWarps(machine, begin, end, ready);
  }
}

// The same of the whole block: all warps together, or each as far as it comes before the next one
// begins.
void AdvanceBlock(Machine& machine) {
  const size_t threads = machine.threads.size();
  if (machine.random.Next() >> 63 != 0) return Advance(machine, 0, threads);
  std::vector<size_t> warps;
  for (size_t first = 0; first < threads; first += kWarp) warps.push_back(first);
  machine.random.Shuffle(warps);
  for (const size_t first : warps) {
    Advance(machine, first, std::min<size_t>(first + kWarp, threads));
    if (machine.error != nullptr) return;
  }
}

bool AllAre(const Machine& machine, State state) {
  return std::all_of(machine.threads.begin(), machine.threads.end(),
                     [state](const Thread& thread) { return thread.state == state; });
}

void Poison(Machine& machine, size_t dynamic_shared_bytes) {
  for (auto& [tag, memory] : machine.shared) {
    std::memset(memory.first.get(), kPoison, memory.second);
  }
  machine.dynamic_shared = std::make_unique<std::byte[]>(std::max<size_t>(dynamic_shared_bytes, 1));
  std::memset(machine.dynamic_shared.get(), kPoison, dynamic_shared_bytes);
}

void RunBlock(Machine& machine, Dim3 index, Dim3 grid, Dim3 block, size_t dynamic_shared_bytes) {
  Poison(machine, dynamic_shared_bytes);
  for (size_t i = 0; i < machine.threads.size(); ++i) {
    Thread& thread = machine.threads[i];
    const auto at = static_cast<unsigned>(i);
    thread.place = {
        {at % block.x, at / block.x % block.y, at / (block.x * block.y)}, index, block, grid};
    thread.copies.clear();
    thread.copy_group = 0;
    thread.meetings = 0;
    machine.fibers.Start(thread.fiber, RunThread, nullptr);
  }
  while (true) {
    AdvanceBlock(machine);
    if (machine.error != nullptr || AllAre(machine, State::kEnded)) return;
    if (!AllAre(machine, State::kAtBlock)) {
      throw Error(Code::kInternal,
                  "emulation: threads of a block wait for others that do not come");
    }
  }
}

}  // namespace

const Place& Current() {
  return TheMachine().current->place;
}

unsigned Lane() {
  return IndexOf(*TheMachine().current) % kWarp;
}

void RunGrid(Dim3 grid, Dim3 block, size_t dynamic_shared_bytes,
             const std::function<void()>& body) {
  Machine& machine = TheMachine();
  machine.mutations.Read();
  machine.body = &body;
  machine.error = nullptr;
  const size_t threads = size_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > 1024) throw Error(Code::kInternal, "emulation: 1 to 1024 threads");
  machine.fibers.Reserve(threads);
  // Of this kernel only, and of its size: what lies beyond is an error that AddressSanitizer sees.
  machine.shared.clear();
  machine.threads = std::vector<Thread>(threads);
  machine.warps = std::vector<Warp>((threads + kWarp - 1) / kWarp);
  for (size_t i = 0; i < threads; ++i) machine.threads[i].fiber.stack = i;
  std::vector<uint64_t> blocks(uint64_t{grid.x} * grid.y * grid.z);
  for (uint64_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  machine.random.Shuffle(blocks);
  for (const uint64_t at : blocks) {
    const Dim3 index{static_cast<unsigned>(at % grid.x),
                     static_cast<unsigned>(at / grid.x % grid.y),
                     static_cast<unsigned>(at / grid.x / grid.y)};
    RunBlock(machine, index, grid, block, dynamic_shared_bytes);
    if (machine.error != nullptr) std::rethrow_exception(machine.error);
  }
}

void* BlockMemory(const void* tag, size_t bytes) {
  auto& memory = TheMachine().shared[tag];
  if (memory.first == nullptr) {
    memory = {std::make_unique<std::byte[]>(bytes), bytes};
    std::memset(memory.first.get(), kPoison, bytes);
  }
  return memory.first.get();
}

void* DynamicShared() {
  return TheMachine().dynamic_shared.get();
}

bool IsMutated(const Site& site) {
  Mutations& mutations = TheMachine().mutations;
  if (mutations.skipped.empty() && mutations.log.empty()) return false;
  const std::string name = Name(site);
  if (!mutations.log.empty()) mutations.Log(name);
  return name == mutations.skipped;
}

void Meet(Meeting meeting) {
  Machine& machine = TheMachine();
  Thread& thread = *machine.current;
  thread.state = meeting == Meeting::kBlock ? State::kAtBlock : State::kAtWarp;
  if (meeting == Meeting::kWarp) ++thread.meetings;
  machine.fibers.Leave(thread.fiber);
}

const std::byte (*Exchange(const void* value, size_t bytes)) [kExchangeBytes] {
  Machine& machine = TheMachine();
  Thread& thread = *machine.current;
  auto& values = machine.warps[IndexOf(thread) / kWarp].values[thread.meetings % 2];
  std::memcpy(values[Lane()], value, bytes);
  Meet(Meeting::kWarp);
  return values;
}

void StartCopy(void* to, const void* from, size_t bytes) {
  Thread& thread = *TheMachine().current;
  const auto* source = static_cast<const std::byte*>(from);
  thread.copies.push_back({to, std::vector<std::byte>(source, source + bytes), thread.copy_group});
  std::memset(to, kPoison, bytes);
}

void CommitCopies() {
  ++TheMachine().current->copy_group;
}

void WaitCopies(int groups_left, const Site& site) {
  if (IsMutated(site)) return;
  Thread& thread = *TheMachine().current;
  std::erase_if(thread.copies, [&](const Copy& copy) {
    if (copy.group >= thread.copy_group - groups_left) return false;
    std::memcpy(copy.to, copy.bytes.data(), copy.bytes.size());
    return true;
  });
}

}  // namespace kernels::cuda::emulation
