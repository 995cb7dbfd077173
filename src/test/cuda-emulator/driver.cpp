// libcuda, libnvrtc, libcublasLt and, with nccl.cpp, libnccl as far as tnl calls them, on the host: device memory is
// memory, a kernel is a function of a library that was built from its source beforehand. One library under four names.
//
// A stream's work is done as late as possible: when the host waits for it, or another stream that is waited for. With
// TNL_EMULATED_ORDER=early the streams of a device behind its first do theirs as early as possible, in threads of their own.
// What is right only by luck about what runs first is wrong in one of the two. TNL_EMULATED_GPUS devices are shown, or one;
// CUDA_VISIBLE_DEVICES chooses among them. Memory that is shown to other processes becomes a file of this one without a name,
// which they map; a device reaches another one's only where that was asked for. Streams that wait for an event of one that
// records take part in the recording, and must be waited for before it ends.
#include "driver.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <thread>

using namespace emulator;

namespace {

constexpr int OUT_OF_MEMORY = 2, INVALID_VALUE = 1, INVALID_DEVICE = 101, NOT_FOUND = 500, NOT_READY = 600,
              INVALID_CONTEXT = 201, PEER_ACCESS_UNSUPPORTED = 217, PEER_ACCESS_ALREADY_ENABLED = 704,
              PEER_ACCESS_NOT_ENABLED = 705, CAPTURING = 900, CAPTURE_INVALIDATED = 901, CAPTURE_UNJOINED = 904,
              CAPTURE_ISOLATION = 905, CAPTURED_EVENT = 907;
constexpr size_t MEMORY = 8ull << 30;
constexpr size_t PAGE = 4096;
constexpr int SHARED_BYTES = 163 << 10;

struct Piece {
  size_t bytes;
  int device;
  bool fresh;
  /** Of one that others map; else -1. */
  int file = -1;
};

/** Never destroyed: threads of streams may be there until the process ends. */
std::mutex& mutex = *new std::mutex();
std::condition_variable& changed = *new std::condition_variable();
/** Kernels' threads and shared memory are there once a process. */
std::mutex& kernels = *new std::mutex();
auto& pieces = *new std::map<uintptr_t, Piece>();
auto& pinned = *new std::map<uintptr_t, size_t>();
auto& streams = *new std::vector<Stream*>();
auto& taken = *new std::map<int, size_t>();
/** Memory of other processes: by address its bytes, and the device that opened it. */
auto& opened = *new std::map<uintptr_t, Piece>();
/** Devices of this process, and others whose memory they reach. */
auto& reached = *new std::set<std::pair<int, int>>();
thread_local int current_device;

struct Module {
  void* library;
  int (*kernel)(const char*);
  size_t (*parameter)(int, size_t);
  void (*launch)(int, const unsigned*, void**);
};

struct Function {
  Module* module;
  int kernel;
  int shared = 48 << 10;
};

bool is_pinned(const void* p) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto after = pinned.upper_bound(reinterpret_cast<uintptr_t>(p));
  return after != pinned.begin() && reinterpret_cast<uintptr_t>(p) < std::prev(after)->first + std::prev(after)->second;
}

/** The devices that this process sees. */
std::vector<int> devices() {
  const char* text = getenv("TNL_EMULATED_GPUS");
  const int there = text ? atoi(text) : 1;
  std::vector<int> seen;
  const char* visible = getenv("CUDA_VISIBLE_DEVICES");
  if (!visible) {
    for (int i = 0; i < there; i++) {
      seen.push_back(i);
    }
    return seen;
  }
  for (char* end; *visible; visible = *end == ',' ? end + 1 : end) {
    const long device = strtol(visible, &end, 10);
    if (end == visible || device < 0 || device >= there) {
      break;
    }
    seen.push_back((int)device);
  }
  return seen;
}

std::string folder() {
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&folder), &info);
  const std::string file = info.dli_fname;
  return file.substr(0, file.rfind('/'));
}

}  // namespace

// ---- Streams ---------------------------------------------------------------------------------------------------

namespace emulator {

double get(const void* p, int type, int64_t i) {
  if (type == F64) {
    return static_cast<const double*>(p)[i];
  }
  if (type == F32) {
    return static_cast<const float*>(p)[i];
  }
  if (type == F16) {
    return static_cast<const _Float16*>(p)[i];
  }
  if (type == I32) {
    return static_cast<const int32_t*>(p)[i];
  }
  const unsigned bits = (unsigned)static_cast<const uint16_t*>(p)[i] << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}

void set(void* p, int type, int64_t i, double value) {
  if (type == F64) {
    static_cast<double*>(p)[i] = value;
    return;
  }
  if (type == F16) {
    static_cast<_Float16*>(p)[i] = (_Float16)value;
    return;
  }
  if (type == I32) {
    static_cast<int32_t*>(p)[i] = (int32_t)value;
    return;
  }
  const float x = (float)value;
  if (type == F32) {
    static_cast<float*>(p)[i] = x;
    return;
  }
  unsigned bits;
  memcpy(&bits, &x, 4);
  static_cast<uint16_t*>(p)[i] =
      (uint16_t)(x != x ? 0x7fff : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int device() { return current_device; }

int enqueue(void* handle, Work work) {
  auto* stream = static_cast<Stream*>(handle);
  std::lock_guard<std::mutex> lock(mutex);
  if (stream->recording) {
    stream->recording->works.push_back(std::move(work));
    stream->recording->parts[stream].recorded++;
  } else {
    stream->queue.push_back(std::move(work));
    stream->enqueued++;
    changed.notify_all();
  }
  return 0;
}

void run(Stream* stream, long until) {
  std::unique_lock<std::mutex> lock(mutex);
  while (stream->done < until) {
    if (stream->busy) {
      changed.wait(lock);
      continue;
    }
    stream->busy = true;
    const Work work = std::move(stream->queue.front());
    stream->queue.pop_front();
    lock.unlock();
    work();
    lock.lock();
    stream->busy = false;
    stream->done++;
    changed.notify_all();
  }
}

void run(Stream* stream) {
  long until;
  {
    std::lock_guard<std::mutex> lock(mutex);
    until = stream->enqueued;
  }
  run(stream, until);
}

}  // namespace emulator

namespace {

/** What a stream does by itself, if it does. */
void work_early(Stream* stream) {
  std::unique_lock<std::mutex> lock(mutex);
  while (!stream->closed) {
    if (stream->done < stream->enqueued) {
      const long next = stream->done + 1;
      lock.unlock();
      run(stream, next);
      lock.lock();
    } else {
      changed.wait(lock);
    }
  }
}

/** Everything that was enqueued on the device. */
void drain(int device) {
  std::vector<Stream*> all;
  {
    std::lock_guard<std::mutex> lock(mutex);
    std::copy_if(streams.begin(), streams.end(), std::back_inserter(all), [=](Stream* s) { return s->device == device; });
  }
  for (Stream* stream : all) {
    run(stream);
  }
}

struct Event {
  Stream* stream = nullptr;
  long reached = 0;
  /** Where it was recorded. */
  std::shared_ptr<Recording> recording;
};

/** Whether a device reads and writes memory: its own, or another one's where that was allowed. */
bool reaches(int device, uintptr_t p) {
  std::lock_guard<std::mutex> lock(mutex);
  for (const auto* all : {&pieces, &opened}) {
    const auto after = all->upper_bound(p);
    if (after != all->begin() && p < std::prev(after)->first + std::prev(after)->second.bytes) {
      const int owner = std::prev(after)->second.device;
      return owner == device || reached.count({device, owner}) != 0;
    }
  }
  return false;
}

}  // namespace

// ---- The driver ------------------------------------------------------------------------------------------------

API int cuInit(unsigned) { return 0; }
API int cuDriverGetVersion(int* out) { *out = 13000; return 0; }
API int cuGetErrorName(int code, const char** out) {
  switch (code) {
    case OUT_OF_MEMORY: *out = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case NOT_FOUND: *out = "CUDA_ERROR_NOT_FOUND"; break;
    case INVALID_DEVICE: *out = "CUDA_ERROR_INVALID_DEVICE"; break;
    case PEER_ACCESS_UNSUPPORTED: *out = "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED"; break;
    case PEER_ACCESS_NOT_ENABLED: *out = "CUDA_ERROR_PEER_ACCESS_NOT_ENABLED"; break;
    case CAPTURE_INVALIDATED: *out = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
    case CAPTURE_UNJOINED: *out = "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"; break;
    case CAPTURE_ISOLATION: *out = "CUDA_ERROR_STREAM_CAPTURE_ISOLATION"; break;
    case CAPTURED_EVENT: *out = "CUDA_ERROR_CAPTURED_EVENT"; break;
    default: *out = "CUDA_ERROR_INVALID_VALUE";
  }
  return 0;
}
API int cuGetErrorString(int, const char** out) { *out = "refused by the emulator"; return 0; }
API int cuDeviceGetCount(int* out) { *out = (int)devices().size(); return 0; }
API int cuDeviceGet(int* out, int i) {
  const std::vector<int> seen = devices();
  if (i < 0 || i >= (int)seen.size()) {
    return INVALID_DEVICE;
  }
  *out = seen[i];
  return 0;
}
API int cuDeviceGetName(char* out, int n, int) { snprintf(out, n, "Emulated GPU"); return 0; }
API int cuDeviceTotalMem_v2(size_t* out, int) { *out = MEMORY; return 0; }
API int cuDeviceGetAttribute(int* out, int attribute, int) {
  switch (attribute) {
    case 16: *out = 8; break;              // multiprocessors: few, so that small cases take the paths of large ones
    case 38: *out = 4 << 20; break;        // second-level cache
    case 75: *out = 8; break;              // compute capability 8.0
    case 76: *out = 0; break;
    case 97: *out = SHARED_BYTES; break;   // of a block that asks for it
    default: *out = 0;
  }
  return 0;
}
/** A context is its device's number and 16. */
API int cuDevicePrimaryCtxRetain(void** out, int device) { *out = reinterpret_cast<void*>(16l + device); return 0; }
API int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API int cuCtxSetCurrent(void* context) { current_device = (int)(reinterpret_cast<long>(context) - 16); return 0; }
API int cuCtxSynchronize() { drain(current_device); return 0; }
/** Between the first so many devices, where TNL_EMULATED_PEERS says how many. */
bool can_reach(int device, int other) {
  const char* peers = getenv("TNL_EMULATED_PEERS");
  return !peers || (device < atoi(peers) && other < atoi(peers));
}
API int cuCtxEnablePeerAccess(void* context, unsigned) {
  const int other = (int)(reinterpret_cast<long>(context) - 16);
  if (other == current_device || !can_reach(current_device, other)) {
    return PEER_ACCESS_UNSUPPORTED;
  }
  std::lock_guard<std::mutex> lock(mutex);
  return reached.insert({current_device, other}).second ? 0 : PEER_ACCESS_ALREADY_ENABLED;
}
API int cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
  std::lock_guard<std::mutex> lock(mutex);
  *free_bytes = MEMORY - taken[current_device];
  *total = MEMORY;
  return 0;
}

/** What the system gives is zero, page by page as it is touched: a piece need not be filled with zeros at first. */
API int cuMemAlloc_v2(uintptr_t* out, size_t n) {
  std::lock_guard<std::mutex> lock(mutex);
  if (n > MEMORY - taken[current_device]) {
    return OUT_OF_MEMORY;
  }
  void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    return OUT_OF_MEMORY;
  }
  taken[current_device] += n;
  *out = reinterpret_cast<uintptr_t>(p);
  pieces[*out] = {n, current_device, true};
  return 0;
}
API int cuMemFree_v2(uintptr_t p) {
  drain(current_device);
  std::lock_guard<std::mutex> lock(mutex);
  const auto piece = pieces.find(p);
  if (piece == pieces.end()) {
    return INVALID_VALUE;
  }
  taken[piece->second.device] -= piece->second.bytes;
  munmap(reinterpret_cast<void*>(p), piece->second.bytes);
  if (piece->second.file >= 0) {
    close(piece->second.file);
  }
  pieces.erase(piece);
  return 0;
}
namespace {
struct Handle {
  char bytes[64];
};
/** What a handle holds. */
struct Shown {
  int process, file, device;
  size_t bytes;
};
}  // namespace
/** The memory is replaced by a file's, at its place; whoever has its handle finds the file among those of this process. */
API int cuIpcGetMemHandle(Handle* out, uintptr_t p) {
  drain(current_device);
  std::lock_guard<std::mutex> lock(mutex);
  const auto piece = pieces.find(p);
  if (piece == pieces.end()) {
    return INVALID_VALUE;
  }
  const size_t n = piece->second.bytes;
  const int file = memfd_create("device memory", MFD_CLOEXEC);
  const char* from = reinterpret_cast<char*>(p);
  bool copied = file >= 0 && ftruncate(file, n) == 0;
  // Pages of zeros stay where no memory is.
  for (size_t at = 0; copied && at < n; at += PAGE) {
    const size_t count = std::min(PAGE, n - at);
    if (std::any_of(from + at, from + at + count, [](char x) { return x != 0; })) {
      copied = pwrite(file, from + at, count, at) == (ssize_t)count;
    }
  }
  if (!copied) {
    return OUT_OF_MEMORY;
  }
  if (mmap(reinterpret_cast<void*>(p), n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED) {
    return OUT_OF_MEMORY;
  }
  piece->second.file = file;
  const Shown shown{getpid(), file, piece->second.device, n};
  memset(out, 0, sizeof *out);
  memcpy(out, &shown, sizeof shown);
  return 0;
}
/** Of another process only. */
API int cuIpcOpenMemHandle_v2(uintptr_t* out, Handle handle, unsigned) {
  Shown shown;
  memcpy(&shown, &handle, sizeof shown);
  if (shown.process == getpid()) {
    return INVALID_CONTEXT;
  }
  if (!can_reach(current_device, shown.device)) {
    return PEER_ACCESS_UNSUPPORTED;
  }
  const std::string name = "/proc/" + std::to_string(shown.process) + "/fd/" + std::to_string(shown.file);
  const int file = open(name.c_str(), O_RDWR | O_CLOEXEC);
  void* p = file < 0 ? MAP_FAILED : mmap(nullptr, shown.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (file >= 0) {
    close(file);
  }
  if (p == MAP_FAILED) {
    return INVALID_VALUE;
  }
  std::lock_guard<std::mutex> lock(mutex);
  *out = reinterpret_cast<uintptr_t>(p);
  opened[*out] = {shown.bytes, current_device, false};
  return 0;
}
API int cuIpcCloseMemHandle(uintptr_t p) {
  std::lock_guard<std::mutex> lock(mutex);
  const auto piece = opened.find(p);
  if (piece == opened.end()) {
    return INVALID_VALUE;
  }
  munmap(reinterpret_cast<void*>(p), piece->second.bytes);
  opened.erase(piece);
  return 0;
}
API int cuMemHostAlloc(void** out, size_t n, unsigned) {
  *out = malloc(n);
  std::lock_guard<std::mutex> lock(mutex);
  pinned[reinterpret_cast<uintptr_t>(*out)] = n;
  return 0;
}
API int cuMemFreeHost(void* p) {
  drain(current_device);
  std::lock_guard<std::mutex> lock(mutex);
  pinned.erase(reinterpret_cast<uintptr_t>(p));
  free(p);
  return 0;
}
/** What is not pinned is read before the call returns; a recording reads it when it is launched. */
API int cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t n, void* stream) {
  if (static_cast<Stream*>(stream)->recording || is_pinned(from)) {
    return enqueue(stream, [=] { memmove(reinterpret_cast<void*>(to), from, n); });
  }
  std::shared_ptr<void> copy(malloc(n), free);
  memcpy(copy.get(), from, n);
  return enqueue(stream, [=] { memmove(reinterpret_cast<void*>(to), copy.get(), n); });
}
/** What is not pinned is written before the call returns. */
API int cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t n, void* stream) {
  enqueue(stream, [=] { memmove(to, reinterpret_cast<void*>(from), n); });
  if (!static_cast<Stream*>(stream)->recording && !is_pinned(to)) {
    run(static_cast<Stream*>(stream));
  }
  return 0;
}
API int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void* stream) {
  return enqueue(stream, [=] { memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n); });
}
API int cuMemsetD8Async(uintptr_t to, unsigned char x, size_t n, void* stream) {
  {
    std::lock_guard<std::mutex> lock(mutex);
    const auto piece = pieces.find(to);
    if (piece != pieces.end() && piece->second.fresh && x == 0 && n == piece->second.bytes) {
      piece->second.fresh = false;
      return 0;
    }
  }
  return enqueue(stream, [=] { memset(reinterpret_cast<void*>(to), x, n); });
}
API int cuMemsetD32Async(uintptr_t to, unsigned x, size_t n, void* stream) {
  return enqueue(stream, [=] { std::fill_n(reinterpret_cast<unsigned*>(to), n, x); });
}

API int cuStreamCreate(void** out, unsigned) {
  auto* stream = new Stream();
  stream->device = current_device;
  const char* order = getenv("TNL_EMULATED_ORDER");
  {
    std::lock_guard<std::mutex> lock(mutex);
    const bool first = std::none_of(streams.begin(), streams.end(), [](Stream* s) { return s->device == current_device; });
    streams.push_back(stream);
    if (!first && order && strcmp(order, "early") == 0) {
      std::thread(work_early, stream).detach();
    }
  }
  *out = stream;
  return 0;
}
API int cuStreamCreateWithPriority(void** out, unsigned flags, int) { return cuStreamCreate(out, flags); }
/** The stream itself stays: an event may name it. */
API int cuStreamDestroy_v2(void* handle) {
  auto* stream = static_cast<Stream*>(handle);
  run(stream);
  std::lock_guard<std::mutex> lock(mutex);
  stream->closed = true;
  streams.erase(std::find(streams.begin(), streams.end(), stream));
  changed.notify_all();
  return 0;
}
API int cuStreamSynchronize(void* handle) {
  auto* stream = static_cast<Stream*>(handle);
  if (stream->recording) {
    return CAPTURING;
  }
  run(stream);
  return 0;
}
/** Work goes on by itself when somebody asks for it. */
API int cuStreamQuery(void* handle) {
  auto* stream = static_cast<Stream*>(handle);
  if (stream->recording) {
    return CAPTURING;
  }
  std::lock_guard<std::mutex> lock(mutex);
  if (stream->done == stream->enqueued) {
    return 0;
  }
  if (!stream->pushed) {
    stream->pushed = true;
    std::thread([=] {
      run(stream);
      stream->pushed = false;
    }).detach();
  }
  return NOT_READY;
}
/** Four bytes that streams of several devices and processes write and wait for. */
API int cuStreamWriteValue32_v2(void* handle, uintptr_t at, uint32_t value, unsigned) {
  auto* stream = static_cast<Stream*>(handle);
  if (at % 4 != 0 || !reaches(stream->device, at)) {
    return INVALID_VALUE;
  }
  return enqueue(handle, [=] { std::atomic_ref(*reinterpret_cast<uint32_t*>(at)).store(value); });
}
API int cuStreamWaitValue32_v2(void* handle, uintptr_t at, uint32_t value, unsigned flags) {
  auto* stream = static_cast<Stream*>(handle);
  if (at % 4 != 0 || flags != 0 || !reaches(stream->device, at)) {
    return INVALID_VALUE;
  }
  return enqueue(handle, [=] {
    const std::atomic_ref there(*reinterpret_cast<uint32_t*>(at));
    for (int turn = 0; (int32_t)(there.load() - value) < 0; turn++) {
      if (turn < 100) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }
  });
}
API int cuStreamWaitEvent(void* handle, void* event, unsigned) {
  auto* stream = static_cast<Stream*>(handle);
  const Event reached = *static_cast<Event*>(event);
  if (reached.stream == nullptr) {
    return 0;
  }
  if (reached.recording) {
    std::lock_guard<std::mutex> lock(mutex);
    if (reached.recording->ended || (stream->recording && stream->recording != reached.recording)) {
      return CAPTURED_EVENT;
    }
    stream->recording = reached.recording;
    reached.recording->parts[stream];
    Recording::Part& part = reached.recording->parts[reached.stream];
    part.awaited = std::max(part.awaited, reached.reached);
    return 0;
  }
  if (stream->recording) {
    stream->recording->invalid = true;
    return CAPTURE_ISOLATION;
  }
  if (reached.stream == handle) {
    return 0;
  }
  return enqueue(handle, [=] { run(reached.stream, reached.reached); });
}
API int cuStreamBeginCapture_v2(void* handle, int) {
  auto* stream = static_cast<Stream*>(handle);
  stream->recording = std::make_shared<Recording>();
  stream->recording->origin = stream;
  stream->recording->parts[stream];
  return 0;
}
API int cuStreamEndCapture(void* handle, void** out) {
  auto* stream = static_cast<Stream*>(handle);
  std::lock_guard<std::mutex> lock(mutex);
  const std::shared_ptr<Recording> recording = stream->recording;
  *out = nullptr;
  if (!recording || recording->origin != stream) {
    return INVALID_VALUE;
  }
  recording->ended = true;
  bool joined = true;
  for (auto& [other, part] : recording->parts) {
    other->recording = nullptr;
    joined = joined && (other == stream || part.awaited == part.recorded);
  }
  if (recording->invalid || !joined) {
    return recording->invalid ? CAPTURE_INVALIDATED : CAPTURE_UNJOINED;
  }
  *out = new std::vector<Work>(recording->works);
  return 0;
}
API int cuEventCreate(void** out, unsigned) { *out = new Event(); return 0; }
API int cuEventDestroy_v2(void* e) { delete static_cast<Event*>(e); return 0; }
API int cuEventRecord(void* event, void* handle) {
  auto* stream = static_cast<Stream*>(handle);
  std::lock_guard<std::mutex> lock(mutex);
  *static_cast<Event*>(event) = {
      stream, stream->recording ? stream->recording->parts[stream].recorded : stream->enqueued, stream->recording};
  return 0;
}
API int cuEventSynchronize(void* event) {
  const Event reached = *static_cast<Event*>(event);
  if (reached.stream) {
    run(reached.stream, reached.reached);
  }
  return 0;
}
API int cuEventElapsedTime(float* out, void*, void*) { *out = 1; return 0; }
API int cuGraphGetNodes(void* graph, void*, size_t* n) { *n = static_cast<std::vector<Work>*>(graph)->size(); return 0; }
API int cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
  *out = new std::vector<Work>(*static_cast<std::vector<Work>*>(graph));
  return 0;
}
API int cuGraphDestroy(void* graph) { delete static_cast<std::vector<Work>*>(graph); return 0; }
API int cuGraphExecDestroy(void* graph) { return cuGraphDestroy(graph); }
API int cuGraphLaunch(void* graph, void* stream) {
  return enqueue(stream, [all = *static_cast<std::vector<Work>*>(graph)] {
    for (const Work& work : all) {
      work();
    }
  });
}

/** The code is the stem of the source. */
API int cuModuleLoadData(void** out, const void* image) {
  const std::string file = folder() + "/kernels-" + static_cast<const char*>(image) + ".so";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "emulator: %s\n", dlerror());
    return NOT_FOUND;
  }
  auto* module = new Module{library};
  module->kernel = reinterpret_cast<int (*)(const char*)>(dlsym(library, "emulated_kernel"));
  module->parameter = reinterpret_cast<size_t (*)(int, size_t)>(dlsym(library, "emulated_parameter"));
  module->launch = reinterpret_cast<void (*)(int, const unsigned*, void**)>(dlsym(library, "emulated_launch"));
  *out = module;
  return 0;
}
API int cuModuleUnload(void* module) { delete static_cast<Module*>(module); return 0; }
API int cuModuleGetFunction(void** out, void* module, const char* name) {
  auto* m = static_cast<Module*>(module);
  const int kernel = m->kernel(name);
  if (kernel < 0) {
    return NOT_FOUND;
  }
  // Functions outlive the calls that were recorded with them.
  *out = new Function{new Module(*m), kernel};
  return 0;
}
API int cuFuncGetAttribute(int* out, int, void*) { *out = 0; return 0; }
API int cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute == 8) {
    if (value > SHARED_BYTES) {
      return INVALID_VALUE;
    }
    static_cast<Function*>(function)->shared = value;
  }
  return 0;
}
API int cuFuncGetParamInfo(void* function, size_t i, size_t* offset, size_t* size) {
  auto* f = static_cast<Function*>(function);
  *size = f->module->parameter(f->kernel, i);
  *offset = 0;
  return *size == 0 ? INVALID_VALUE : 0;
}
API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* out, void*, int, size_t) { *out = 2; return 0; }
API int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, void* stream, void** values, void**) {
  auto* f = static_cast<Function*>(function);
  const unsigned long long threads = (unsigned long long)bx * by * bz;
  if (gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535 || threads == 0 || threads > 1024 || bz > 64 ||
      (int)shared > f->shared) {
    return INVALID_VALUE;
  }
  std::vector<unsigned> sizes = {gx, gy, gz, bx, by, bz};
  std::vector<std::vector<char>> copies;
  for (size_t i = 0, size; (size = f->module->parameter(f->kernel, i)) != 0; i++) {
    copies.emplace_back(static_cast<char*>(values[i]), static_cast<char*>(values[i]) + size);
  }
  return enqueue(stream, [f, sizes, copies]() mutable {
    std::vector<void*> pointers;
    for (auto& copy : copies) {
      pointers.push_back(copy.data());
    }
    std::lock_guard<std::mutex> lock(kernels);
    f->module->launch(f->kernel, sizes.data(), pointers.data());
  });
}
API int cuLaunchKernelEx(const void* configuration, void* function, void** values, void** extra) {
  struct Configuration {
    unsigned sizes[6];
    unsigned shared;
    void* stream;
    void* attributes;
    unsigned count;
  };
  const auto* c = static_cast<const Configuration*>(configuration);
  return cuLaunchKernel(function, c->sizes[0], c->sizes[1], c->sizes[2], c->sizes[3], c->sizes[4], c->sizes[5],
                        c->shared, c->stream, values, extra);
}
API int cuTensorMapEncodeTiled() { return 801; }

// ---- The run-time compiler -------------------------------------------------------------------------------------

namespace {
struct Program {
  std::string stem;
};
}  // namespace

API const char* nvrtcGetErrorString(int) { return "NVRTC_ERROR_EMULATED"; }
API int nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 0; return 0; }
API int nvrtcGetNumSupportedArchs(int* out) { *out = 1; return 0; }
API int nvrtcGetSupportedArchs(int* out) { out[0] = 80; return 0; }
API int nvrtcCreateProgram(Program** out, const char*, const char* name, int, const char**, const char**) {
  std::string stem = name;
  stem = stem.substr(stem.rfind('/') + 1);
  *out = new Program{stem.substr(0, stem.rfind('.'))};
  return 0;
}
API int nvrtcCompileProgram(Program*, int, const char**) { return 0; }
API int nvrtcGetProgramLogSize(Program*, size_t* out) { *out = 1; return 0; }
API int nvrtcGetProgramLog(Program*, char* out) { *out = 0; return 0; }
API int nvrtcGetCUBINSize(Program* p, size_t* out) { *out = p->stem.size() + 1; return 0; }
API int nvrtcGetCUBIN(Program* p, char* out) { memcpy(out, p->stem.c_str(), p->stem.size() + 1); return 0; }
API int nvrtcDestroyProgram(Program** p) { delete *p; *p = nullptr; return 0; }

// ---- Matrix products, column-major -----------------------------------------------------------------------------

namespace {

struct Description {
  bool transposeA = false, transposeB = false, bias = false;
  const void* biasVector = nullptr;
};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t stride;
};

}  // namespace

API const char* cublasLtGetStatusName(int) { return "CUBLAS_STATUS_EMULATED"; }
API const char* cublasLtGetStatusString(int) { return "refused by the emulator"; }
API size_t cublasLtGetVersion() { return 130000; }
API int cublasLtCreate(void** out) { *out = malloc(1); return 0; }
API int cublasLtDestroy(void* h) { free(h); return 0; }
API int cublasLtMatmulDescCreate(Description** out, int, int) { *out = new Description(); return 0; }
API int cublasLtMatmulDescDestroy(Description* d) { delete d; return 0; }
API int cublasLtMatmulDescSetAttribute(Description* d, int attribute, const void* value, size_t) {
  const int number = *static_cast<const int*>(value);
  switch (attribute) {
    case 3: d->transposeA = number != 0; break;
    case 4: d->transposeB = number != 0; break;
    case 7: d->bias = (number & 4) != 0; break;
    case 8: d->biasVector = *static_cast<void* const*>(value); break;
    default: break;
  }
  return 0;
}
API int cublasLtMatrixLayoutCreate(Layout** out, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  *out = new Layout{type, rows, columns, stride};
  return 0;
}
API int cublasLtMatrixLayoutDestroy(Layout* l) { delete l; return 0; }
API int cublasLtMatrixLayoutSetAttribute(Layout*, int, const void*, size_t) { return 0; }
API int cublasLtMatmulPreferenceCreate(void** out) { *out = malloc(1); return 0; }
API int cublasLtMatmulPreferenceDestroy(void* p) { free(p); return 0; }
API int cublasLtMatmulPreferenceSetAttribute(void*, int, const void*, size_t) { return 0; }
API int cublasLtMatmulAlgoGetHeuristic(void*, Description*, Layout*, Layout*, Layout*, Layout*, void*, int, void* out, int* found) {
  struct Heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
  };
  memset(out, 0, sizeof(Heuristic));
  *found = 1;
  return 0;
}
API int cublasLtMatmul(void*, Description* description, const void* alpha, const void* A, Layout* a, const void* B,
                       Layout* b, const void* beta, const void* C, Layout* c, void* D, Layout* d, const void*, void*,
                       size_t, void* stream) {
  const bool wide = a->type == F64;
  const double alpha_value = get(alpha, wide ? F64 : F32, 0), beta_value = get(beta, wide ? F64 : F32, 0);
  return enqueue(stream, [description = *description, A, a = *a, B, b = *b, C, c = *c, D, d = *d, alpha_value, beta_value] {
    const uint64_t k = description.transposeA ? a.rows : a.columns;
    std::vector<double> left(d.rows * k);
    for (uint64_t i = 0; i < d.rows; i++) {
      for (uint64_t s = 0; s < k; s++) {
        left[i * k + s] = get(A, a.type, description.transposeA ? s + i * a.stride : i + s * a.stride);
      }
    }
    std::vector<double> right(k);
    for (uint64_t j = 0; j < d.columns; j++) {
      for (uint64_t s = 0; s < k; s++) {
        right[s] = get(B, b.type, description.transposeB ? j + s * b.stride : s + j * b.stride);
      }
      for (uint64_t i = 0; i < d.rows; i++) {
        double sum = 0;
        for (uint64_t s = 0; s < k; s++) {
          sum += left[i * k + s] * right[s];
        }
        sum *= alpha_value;
        if (beta_value != 0) {
          sum += beta_value * get(C, c.type, i + j * c.stride);
        }
        if (description.bias) {
          sum += get(description.biasVector, d.type, i);
        }
        set(D, d.type, i + j * d.stride, sum);
      }
    }
  });
}
