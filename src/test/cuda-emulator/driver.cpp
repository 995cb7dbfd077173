// libcuda, libnvrtc and libcublasLt as far as tnl calls them, on the host: device memory is memory, a kernel is a function
// of a library that was built from its source beforehand, work is done when it is enqueued. One library under three names.
#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

namespace {

constexpr int OUT_OF_MEMORY = 2, INVALID_VALUE = 1, NOT_FOUND = 500;
constexpr size_t MEMORY = 8ull << 30;
constexpr int SHARED_BYTES = 163 << 10;

size_t taken;

struct Piece {
  size_t bytes;
  bool fresh;
};

std::map<uintptr_t, Piece> pieces;

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

using Work = std::function<void()>;

/** Null while nothing is recorded. */
std::vector<Work>* recording;

int enqueue(Work work) {
  if (recording) {
    recording->push_back(std::move(work));
  } else {
    work();
  }
  return 0;
}

std::string folder() {
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&folder), &info);
  const std::string file = info.dli_fname;
  return file.substr(0, file.rfind('/'));
}

}  // namespace

// ---- The driver ------------------------------------------------------------------------------------------------

API int cuInit(unsigned) { return 0; }
API int cuDriverGetVersion(int* out) { *out = 13000; return 0; }
API int cuGetErrorName(int code, const char** out) {
  *out = code == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : code == NOT_FOUND ? "CUDA_ERROR_NOT_FOUND" : "CUDA_ERROR_INVALID_VALUE";
  return 0;
}
API int cuGetErrorString(int, const char** out) { *out = "refused by the emulator"; return 0; }
API int cuDeviceGetCount(int* out) { *out = 1; return 0; }
API int cuDeviceGet(int* out, int i) { *out = i; return i == 0 ? 0 : 101; }
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
API int cuDevicePrimaryCtxRetain(void** out, int) { *out = reinterpret_cast<void*>(16); return 0; }
API int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
API int cuCtxSetCurrent(void*) { return 0; }
API int cuCtxSynchronize() { return 0; }
API int cuMemGetInfo_v2(size_t* free_bytes, size_t* total) { *free_bytes = MEMORY - taken; *total = MEMORY; return 0; }

/** What the system gives is zero, page by page as it is touched: a piece need not be filled with zeros at first. */
API int cuMemAlloc_v2(uintptr_t* out, size_t n) {
  if (n > MEMORY - taken) {
    return OUT_OF_MEMORY;
  }
  void* p = mmap(nullptr, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) {
    return OUT_OF_MEMORY;
  }
  taken += n;
  *out = reinterpret_cast<uintptr_t>(p);
  pieces[*out] = {n, true};
  return 0;
}
API int cuMemFree_v2(uintptr_t p) {
  const auto piece = pieces.find(p);
  if (piece == pieces.end()) {
    return INVALID_VALUE;
  }
  taken -= piece->second.bytes;
  munmap(reinterpret_cast<void*>(p), piece->second.bytes);
  pieces.erase(piece);
  return 0;
}
API int cuMemHostAlloc(void** out, size_t n, unsigned) { *out = malloc(n); return 0; }
API int cuMemFreeHost(void* p) { free(p); return 0; }
API int cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t n, void*) {
  return enqueue([=] { memmove(reinterpret_cast<void*>(to), from, n); });
}
API int cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t n, void*) {
  return enqueue([=] { memmove(to, reinterpret_cast<void*>(from), n); });
}
API int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void*) {
  return enqueue([=] { memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n); });
}
API int cuMemsetD8Async(uintptr_t to, unsigned char x, size_t n, void*) {
  const auto piece = pieces.find(to);
  if (piece != pieces.end() && piece->second.fresh && x == 0 && n == piece->second.bytes) {
    piece->second.fresh = false;
    return 0;
  }
  return enqueue([=] { memset(reinterpret_cast<void*>(to), x, n); });
}
API int cuMemsetD32Async(uintptr_t to, unsigned x, size_t n, void*) {
  return enqueue([=] { std::fill_n(reinterpret_cast<unsigned*>(to), n, x); });
}

API int cuStreamCreate(void** out, unsigned) { *out = malloc(1); return 0; }
API int cuStreamDestroy_v2(void* s) { free(s); return 0; }
API int cuStreamSynchronize(void*) { return recording ? 900 : 0; }
API int cuStreamWaitEvent(void*, void*, unsigned) { return 0; }
API int cuStreamBeginCapture_v2(void*, int) { recording = new std::vector<Work>(); return 0; }
API int cuStreamEndCapture(void*, void** out) { *out = recording; recording = nullptr; return 0; }
API int cuEventCreate(void** out, unsigned) { *out = malloc(1); return 0; }
API int cuEventDestroy_v2(void* e) { free(e); return 0; }
API int cuEventRecord(void*, void*) { return 0; }
API int cuEventSynchronize(void*) { return 0; }
API int cuEventElapsedTime(float* out, void*, void*) { *out = 1; return 0; }
API int cuGraphGetNodes(void* graph, void*, size_t* n) { *n = static_cast<std::vector<Work>*>(graph)->size(); return 0; }
API int cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
  *out = new std::vector<Work>(*static_cast<std::vector<Work>*>(graph));
  return 0;
}
API int cuGraphDestroy(void* graph) { delete static_cast<std::vector<Work>*>(graph); return 0; }
API int cuGraphExecDestroy(void* graph) { return cuGraphDestroy(graph); }
API int cuGraphLaunch(void* graph, void*) {
  for (const Work& work : *static_cast<std::vector<Work>*>(graph)) {
    work();
  }
  return 0;
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
                       unsigned shared, void*, void** values, void**) {
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
  return enqueue([f, sizes, copies]() mutable {
    std::vector<void*> pointers;
    for (auto& copy : copies) {
      pointers.push_back(copy.data());
    }
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

constexpr int F32 = 0, F64 = 1, BF16 = 14;

struct Description {
  bool transposeA = false, transposeB = false, bias = false;
  const void* biasVector = nullptr;
};

struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t stride;
};

double get(const void* p, int type, int64_t i) {
  if (type == F64) {
    return static_cast<const double*>(p)[i];
  }
  if (type == F32) {
    return static_cast<const float*>(p)[i];
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
                       size_t, void*) {
  const bool wide = a->type == F64;
  const double alpha_value = get(alpha, wide ? F64 : F32, 0), beta_value = get(beta, wide ? F64 : F32, 0);
  return enqueue([description = *description, A, a = *a, B, b = *b, C, c = *c, D, d = *d, alpha_value, beta_value] {
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
