// libnccl as far as tnl calls it: ranks are threads or processes of one machine, each with an emulated device of its own.
// Every two ranks of a group have a socket between them, found by a name that no file stands for. A collective is work of
// its stream: all ranks give each other what the others need, and each adds up in the order of the ranks, in double. Ranks
// that come with different calls, and ranks that are gone, make an asynchronous error.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <thread>

#include "driver.h"

using namespace emulator;

namespace {

constexpr int SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE_ERROR = 6;
constexpr int MAX = 2, NO_GROUP = -1;
constexpr int PATIENCE_MS = 60'000;

struct Id {
  char text[128];
};

struct Comm {
  std::string name;
  int rank, size, device;
  /** By rank; -1 for its own. */
  std::vector<int> sockets;
  std::set<Stream*> streams;
  int splits = 0;
  std::atomic<int> error{0};
  std::atomic<bool> aborted{false};
};

std::mutex& mutex = *new std::mutex();
std::string& last_error = *new std::string();

int fail(int code, const std::string& why) {
  std::lock_guard<std::mutex> lock(mutex);
  last_error = why;
  return code;
}

void fail(Comm* comm, int code, const std::string& why) {
  int none = 0;
  if (comm->error.compare_exchange_strong(none, fail(code, why))) {
    fprintf(stderr, "emulator: rank %d of %d: %s\n", comm->rank, comm->size, why.c_str());
  }
}

// ---- Messages --------------------------------------------------------------------------------------------------

/** What a message is part of; both sides have the same one. */
struct Header {
  int operation, type, argument;
  unsigned long long bytes;

  bool operator==(const Header& other) const = default;

  std::string text() const {
    return "operation " + std::to_string(operation) + " of type " + std::to_string(type) + " (" + std::to_string(argument) +
           "), " + std::to_string(bytes) + " bytes";
  }
};

struct Message {
  int peer;
  Header header;
  char* data;
  Header came{};
  size_t done = 0;
};

/** Moves what can be moved now of a message; false when the peer is gone. */
bool move(int socket, Message& m, bool sending) {
  while (m.done < sizeof(Header) + m.header.bytes) {
    const bool head = m.done < sizeof(Header);
    char* at = !head ? m.data + (m.done - sizeof(Header)) : reinterpret_cast<char*>(sending ? &m.header : &m.came) + m.done;
    const size_t left = head ? sizeof(Header) - m.done : sizeof(Header) + m.header.bytes - m.done;
    const ssize_t n = sending ? send(socket, at, left, MSG_NOSIGNAL | MSG_DONTWAIT) : recv(socket, at, left, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      return true;
    }
    if (n <= 0) {
      return false;
    }
    m.done += n;
    if (!sending && head && m.done >= sizeof(Header) && !(m.came == m.header)) {
      return true;
    }
  }
  return true;
}

/** Sends and receives messages, those of one peer in their order; false where that failed. */
bool exchange(Comm* comm, std::vector<Message> sent, std::vector<Message> received) {
  const auto pending = [](std::vector<Message>& all, int peer) -> Message* {
    for (Message& m : all) {
      if (m.peer == peer && m.done < sizeof(Header) + m.header.bytes) {
        return &m;
      }
    }
    return nullptr;
  };
  for (;;) {
    std::vector<pollfd> waits;
    for (int peer = 0; peer < comm->size; peer++) {
      const short events = (pending(sent, peer) ? POLLOUT : 0) | (pending(received, peer) ? POLLIN : 0);
      waits.push_back({events ? comm->sockets[peer] : -1, events, 0});
    }
    if (std::all_of(waits.begin(), waits.end(), [](const pollfd& w) { return w.events == 0; })) {
      return true;
    }
    poll(waits.data(), waits.size(), 20);
    if (comm->aborted || comm->error) {
      return false;
    }
    for (int peer = 0; peer < comm->size; peer++) {
      for (const bool sending : {true, false}) {
        Message* m = pending(sending ? sent : received, peer);
        if (!m || waits[peer].revents == 0) {
          continue;
        }
        if (!move(comm->sockets[peer], *m, sending)) {
          fail(comm, REMOTE_ERROR, "rank " + std::to_string(peer) + " is gone");
          return false;
        }
        if (!sending && m->done >= sizeof(Header) && !(m->came == m->header)) {
          fail(comm, INVALID_USAGE, "rank " + std::to_string(peer) + " comes with " + m->came.text() + ", want " +
                                        m->header.text());
          return false;
        }
      }
    }
  }
}

// ---- Groups ----------------------------------------------------------------------------------------------------

sockaddr_un address(const std::string& name, int rank, socklen_t* size) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  // A name that begins with 0 is no file and goes with its socket.
  const std::string text = "tnl-emulated-nccl-" + name + "-" + std::to_string(rank);
  memcpy(a.sun_path + 1, text.data(), std::min(text.size(), sizeof a.sun_path - 1));
  *size = (socklen_t)(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return a;
}

struct Hello {
  int rank, size, device;
};

bool whole(int socket, void* data, size_t n, bool sending) {
  for (size_t done = 0; done < n;) {
    pollfd wait{socket, (short)(sending ? POLLOUT : POLLIN), 0};
    char* at = static_cast<char*>(data) + done;
    if (poll(&wait, 1, PATIENCE_MS) <= 0) {
      return false;
    }
    const ssize_t moved = sending ? send(socket, at, n - done, MSG_NOSIGNAL) : recv(socket, at, n - done, 0);
    if (moved <= 0) {
      return false;
    }
    done += moved;
  }
  return true;
}

/** Connects to the ranks below, waits for those above. */
int join(Comm* comm) {
  comm->sockets.assign(comm->size, -1);
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t length;
  sockaddr_un own = address(comm->name, comm->rank, &length);
  if (bind(listener, (sockaddr*)&own, length) != 0 || listen(listener, comm->size) != 0) {
    close(listener);
    return fail(INVALID_USAGE, "rank " + std::to_string(comm->rank) + " is there twice");
  }
  int code = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(PATIENCE_MS);
  for (int i = 0; i < comm->size - 1 && code == 0; i++) {
    int peer = -1;
    if (i < comm->rank) {
      sockaddr_un other = address(comm->name, i, &length);
      while ((peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0 && connect(peer, (sockaddr*)&other, length) != 0) {
        close(peer);
        peer = -1;
        if (std::chrono::steady_clock::now() > deadline) {
          break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
      }
    } else {
      pollfd wait{listener, POLLIN, 0};
      peer = poll(&wait, 1, PATIENCE_MS) > 0 ? accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) : -1;
    }
    Hello hello{comm->rank, comm->size, comm->device}, other{};
    if (peer < 0 || !whole(peer, &hello, sizeof hello, true) || !whole(peer, &other, sizeof other, false)) {
      code = fail(SYSTEM_ERROR, "not all ranks came");
    } else if (other.size != comm->size || other.rank < 0 || other.rank >= comm->size) {
      code = fail(INVALID_ARGUMENT, "a rank " + std::to_string(other.rank) + " of " + std::to_string(other.size) + " came");
    } else if (other.device == comm->device) {
      code = fail(INVALID_USAGE, "Duplicate GPU detected: rank " + std::to_string(comm->rank) + " and rank " +
                                     std::to_string(other.rank) + " both on device " + std::to_string(comm->device));
    }
    if (code != 0 && peer >= 0) {
      close(peer);
    } else if (code == 0) {
      comm->sockets[other.rank] = peer;
    }
  }
  close(listener);
  return code;
}

// ---- Operations ------------------------------------------------------------------------------------------------

enum Kind { ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, BROADCAST, POINT_TO_POINT, SPLIT };

struct Operation {
  Comm* comm;
  Kind kind;
  const void* from;
  void* to;
  size_t count;
  int type;
  /** Reduction, root or peer. */
  int argument;
};

int data_type(int nccl) {
  switch (nccl) {
    case 2: return I32;
    case 6: return F16;
    case 7: return F32;
    case 8: return F64;
    case 9: return BF16;
    default: return -1;
  }
}

size_t bytes(const Operation& o) {
  const int type = data_type(o.type);
  return o.count * (type == F64 ? 8 : type == F32 || type == I32 ? 4 : 2);
}

/** to = the sum or the maximum of the ranks' numbers, in their order; the maximum of a number and NaN is the number. */
void reduce(const Operation& o, const std::vector<const char*>& parts) {
  const int type = data_type(o.type);
  for (size_t i = 0; i < o.count; i++) {
    double result = get(parts[0], type, i);
    for (size_t r = 1; r < parts.size(); r++) {
      const double next = get(parts[r], type, i);
      result = o.argument == MAX ? std::fmax(result, next) : result + next;
    }
    set(o.to, type, i, result);
  }
}

void collective(const Operation& o) {
  Comm* comm = o.comm;
  const size_t n = bytes(o);
  const Header header{o.kind, o.type, o.argument, n};
  char* from = static_cast<char*>(const_cast<void*>(o.from));
  char* to = static_cast<char*>(o.to);
  std::vector<Message> sent, received;
  std::vector<std::vector<char>> came(comm->size);
  std::vector<const char*> parts(comm->size);
  for (int r = 0; r < comm->size; r++) {
    const bool reduces = o.kind == ALL_REDUCE || o.kind == REDUCE_SCATTER;
    char* piece = o.kind == REDUCE_SCATTER ? from + r * n : from;
    if (reduces && r != comm->rank) {
      came[r].resize(n);
    }
    parts[r] = r == comm->rank ? piece : came[r].data();
    if (r == comm->rank) {
      continue;
    }
    if (o.kind != BROADCAST || o.argument == comm->rank) {
      sent.push_back({r, header, piece});
    }
    if (reduces) {
      received.push_back({r, header, came[r].data()});
    } else if (o.kind == ALL_GATHER) {
      received.push_back({r, header, to + r * n});
    } else if (o.argument == r) {
      received.push_back({r, header, to});
    }
  }
  if (!exchange(comm, sent, received)) {
    return;
  }
  if (o.kind == ALL_GATHER) {
    memmove(to + comm->rank * n, from, n);
  } else if (o.kind == BROADCAST) {
    if (o.argument == comm->rank) {
      memmove(to, from, n);
    }
  } else {
    reduce(o, parts);
  }
}

/** What was called as one group, on one stream: first the collectives, then all sends and receives at once. */
void execute(const std::vector<Operation>& operations) {
  std::vector<Comm*> comms;
  for (const Operation& o : operations) {
    if (o.comm->error || o.comm->aborted) {
      continue;
    }
    if (o.kind != POINT_TO_POINT) {
      collective(o);
    } else if (std::find(comms.begin(), comms.end(), o.comm) == comms.end()) {
      comms.push_back(o.comm);
    }
  }
  for (Comm* comm : comms) {
    std::vector<Message> sent, received;
    for (const Operation& o : operations) {
      if (o.comm == comm && o.kind == POINT_TO_POINT) {
        const Header header{o.kind, o.type, 0, bytes(o)};
        (o.to ? received : sent).push_back(
            {o.argument, header, static_cast<char*>(o.to ? o.to : const_cast<void*>(o.from))});
      }
    }
    exchange(comm, sent, received);
  }
}

thread_local int depth;
thread_local std::vector<std::pair<Stream*, Operation>> grouped;

void close_group() {
  while (!grouped.empty()) {
    Stream* stream = grouped.front().first;
    std::vector<Operation> mine;
    for (const auto& [s, operation] : grouped) {
      if (s == stream) {
        mine.push_back(operation);
      }
    }
    grouped.erase(std::remove_if(grouped.begin(), grouped.end(), [=](const auto& g) { return g.first == stream; }),
                  grouped.end());
    enqueue(stream, [mine] { execute(mine); });
  }
}

int add(const Operation& o, void* stream) {
  Comm* comm = o.comm;
  if (comm->error) {
    return comm->error;
  }
  const bool ranked = o.kind == BROADCAST || o.kind == POINT_TO_POINT;
  if (data_type(o.type) < 0 || (ranked && (o.argument < 0 || o.argument >= comm->size)) ||
      (o.kind == POINT_TO_POINT && o.argument == comm->rank)) {
    return fail(INVALID_ARGUMENT, "no such type or rank");
  }
  if (o.count == 0) {
    return 0;
  }
  comm->streams.insert(static_cast<Stream*>(stream));
  grouped.push_back({static_cast<Stream*>(stream), o});
  if (depth == 0) {
    close_group();
  }
  return 0;
}

}  // namespace

API const char* ncclGetErrorString(int code) {
  switch (code) {
    case 0: return "no error";
    case SYSTEM_ERROR: return "unhandled system error";
    case INVALID_ARGUMENT: return "invalid argument";
    case INVALID_USAGE: return "invalid usage";
    case REMOTE_ERROR: return "remote process exited or there was a network error";
    default: return "unknown result code";
  }
}
API const char* ncclGetLastError(Comm*) {
  std::lock_guard<std::mutex> lock(mutex);
  thread_local std::string text;
  text = last_error;
  return text.c_str();
}
API int ncclGetVersion(int* out) { *out = 22809; return 0; }
API int ncclGetUniqueId(Id* out) {
  unsigned long long random[2];
  const int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
  const bool read_all = read(file, random, sizeof random) == sizeof random;
  close(file);
  memset(out, 0, sizeof *out);
  snprintf(out->text, sizeof out->text, "%016llx%016llx", random[0], random[1]);
  return read_all ? 0 : SYSTEM_ERROR;
}
API int ncclCommInitRank(Comm** out, int size, Id id, int rank) {
  if (size < 1 || rank < 0 || rank >= size) {
    return fail(INVALID_ARGUMENT, "rank " + std::to_string(rank) + " of " + std::to_string(size));
  }
  auto* comm = new Comm{std::string(id.text, strnlen(id.text, sizeof id.text)), rank, size, device()};
  *out = comm;
  return join(comm);
}
API int ncclCommSplit(Comm* comm, int group, int key, Comm** out, void*) {
  for (Stream* stream : comm->streams) {
    run(stream);
  }
  if (comm->error) {
    return comm->error;
  }
  std::vector<std::pair<int, int>> all(comm->size);
  all[comm->rank] = {group, key};
  std::vector<Message> sent, received;
  for (int r = 0; r < comm->size; r++) {
    if (r != comm->rank) {
      const Header header{SPLIT, 0, 0, sizeof all[0]};
      sent.push_back({r, header, reinterpret_cast<char*>(&all[comm->rank])});
      received.push_back({r, header, reinterpret_cast<char*>(&all[r])});
    }
  }
  if (!exchange(comm, sent, received)) {
    return comm->error;
  }
  *out = nullptr;
  if (group == NO_GROUP) {
    return 0;
  }
  std::vector<std::pair<int, int>> members;
  for (int r = 0; r < comm->size; r++) {
    if (all[r].first == group) {
      members.push_back({all[r].second, r});
    }
  }
  std::sort(members.begin(), members.end());
  const int rank = (int)(std::find(members.begin(), members.end(), std::pair(key, comm->rank)) - members.begin());
  auto* part = new Comm{comm->name + "." + std::to_string(comm->splits++) + "." + std::to_string(group), rank,
                        (int)members.size(), comm->device};
  *out = part;
  return join(part);
}
API int ncclCommCount(Comm* comm, int* out) { *out = comm->size; return 0; }
API int ncclCommUserRank(Comm* comm, int* out) { *out = comm->rank; return 0; }
API int ncclCommGetAsyncError(Comm* comm, int* out) { *out = comm->error; return 0; }
/** What is left of the group stays: its work may still be in a stream. */
API int ncclCommDestroy(Comm* comm) {
  for (Stream* stream : comm->streams) {
    run(stream);
  }
  for (const int socket : comm->sockets) {
    if (socket >= 0) {
      close(socket);
    }
  }
  comm->sockets.clear();
  return 0;
}
API int ncclCommAbort(Comm* comm) {
  comm->aborted = true;
  return 0;
}
API int ncclGroupStart() { depth++; return 0; }
API int ncclGroupEnd() {
  if (depth == 0) {
    return fail(INVALID_USAGE, "ncclGroupEnd without ncclGroupStart");
  }
  if (--depth == 0) {
    close_group();
  }
  return 0;
}
API int ncclAllReduce(const void* from, void* to, size_t count, int type, int operation, Comm* comm, void* stream) {
  return add({comm, ALL_REDUCE, from, to, count, type, operation}, stream);
}
API int ncclReduceScatter(const void* from, void* to, size_t count, int type, int operation, Comm* comm, void* stream) {
  return add({comm, REDUCE_SCATTER, from, to, count, type, operation}, stream);
}
API int ncclAllGather(const void* from, void* to, size_t count, int type, Comm* comm, void* stream) {
  return add({comm, ALL_GATHER, from, to, count, type, 0}, stream);
}
API int ncclBroadcast(const void* from, void* to, size_t count, int type, int root, Comm* comm, void* stream) {
  return add({comm, BROADCAST, from, to, count, type, root}, stream);
}
API int ncclSend(const void* from, size_t count, int type, int peer, Comm* comm, void* stream) {
  return add({comm, POINT_TO_POINT, from, nullptr, count, type, peer}, stream);
}
API int ncclRecv(void* to, size_t count, int type, int peer, Comm* comm, void* stream) {
  return add({comm, POINT_TO_POINT, nullptr, to, count, type, peer}, stream);
}
