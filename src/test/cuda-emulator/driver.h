// What the parts of the emulated libraries share: streams, and numbers by their type.
#pragma once
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace emulator {

using Work = std::function<void()>;

struct Stream;

/** What streams record together, in the order of the calls. */
struct Recording {
  Stream* origin;
  std::vector<Work> works;
  /** The streams that take part, and of each how much it has recorded, and how much of that others have waited for. */
  struct Part {
    long recorded = 0, awaited = 0;
  };
  std::map<Stream*, Part> parts;
  bool invalid = false, ended = false;
};

/** Work in order. What is enqueued is numbered from 1; done counts what was done of it. */
struct Stream {
  int device = 0;
  std::deque<Work> queue;
  long enqueued = 0, done = 0;
  bool busy = false, closed = false, pushed = false;
  /** Null while nothing is recorded. */
  std::shared_ptr<Recording> recording;
};

/** Puts work behind what a stream has, or into its recording; 0. */
int enqueue(void* stream, Work work);

/** Returns when the stream has done its first so many pieces of work; the caller does what nobody else does. */
void run(Stream* stream, long until);

/** Returns when the stream has done all that is enqueued now. */
void run(Stream* stream);

/** The device of this thread's context. */
int device();

/** Numbers of cudaDataType_t. */
constexpr int F32 = 0, F64 = 1, F16 = 2, I32 = 10, BF16 = 14;

double get(const void* p, int type, int64_t i);
void set(void* p, int type, int64_t i, double value);

}  // namespace emulator
