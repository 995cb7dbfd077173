/* Stands in for libcuda, libnvrtc and libcublasLt where there is no GPU: every function that the bindings know is here.
   A test scripts what a function returns with stub_fail, and reads what was called with stub_log and stub_argument.
   Device memory is host memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char calls[1 << 16];
static char failing[64];
static int failing_code;
static size_t launch_size[64];
static unsigned char launch_bytes[64][8];
static int launch_count;
static size_t free_bytes = 8000000000u;
static int parameter_bytes[16] = {8, 8, 8, 4, 8};
static int parameters = 5;

const char *stub_log(void) { return calls; }
void stub_clear(void) { calls[0] = 0; failing[0] = 0; }
void stub_fail(const char *api, int code) { snprintf(failing, sizeof failing, "%s", api); failing_code = code; }
long long stub_argument(int i) { long long x = 0; memcpy(&x, launch_bytes[i], launch_size[i]); return x; }

static int result(const char *api) {
    if (strlen(calls) + strlen(api) + 2 < sizeof calls) {
        strcat(calls, api);
        strcat(calls, " ");
    }
    return strcmp(api, failing) ? 0 : failing_code;
}
#define RESULT return result(__func__)
#define HANDLE(out) do { int r = result(__func__); if (!r) { *(out) = malloc(16); } return r; } while (0)
#define FREE(handle) do { int r = result(__func__); free(handle); return r; } while (0)

/* libcuda */
int cuGetErrorName(int code, const char **out) { *out = code == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_SCRIPTED"; return 0; }
int cuGetErrorString(int code, const char **out) { *out = code == 2 ? "out of memory" : "as scripted"; return 0; }
int cuInit(unsigned flags) { (void) flags; RESULT; }
int cuDriverGetVersion(int *out) { *out = 13000; RESULT; }
int cuDeviceGetCount(int *out) { *out = 1; RESULT; }
int cuDeviceGet(int *out, int i) { *out = i; RESULT; }
int cuDeviceGetName(char *out, int n, int device) { (void) device; snprintf(out, n, "Stub 9000"); RESULT; }
int cuDeviceGetAttribute(int *out, int attribute, int device) {
    (void) device;
    *out = attribute == 75 ? 9 : attribute == 76 ? 0 : attribute == 16 ? 132 : 1;
    RESULT;
}
int cuDeviceTotalMem_v2(size_t *out, int device) { (void) device; *out = 16000000000u; RESULT; }
int cuDevicePrimaryCtxRetain(void **out, int device) { (void) device; *out = (void *) 16; RESULT; }
int cuDevicePrimaryCtxRelease_v2(int device) { (void) device; RESULT; }
int cuCtxSetCurrent(void *context) { (void) context; RESULT; }
int cuCtxSynchronize(void) { RESULT; }
int cuCtxEnablePeerAccess(void *context, unsigned flags) { (void) context; (void) flags; RESULT; }
int cuMemGetInfo_v2(size_t *free_, size_t *total) { *free_ = free_bytes; *total = 16000000000u; RESULT; }
int cuMemAlloc_v2(void **out, size_t n) {
    int r = n > free_bytes ? 2 : result(__func__);
    if (!r) {
        *out = aligned_alloc(256, (n + 255) / 256 * 256);
    }
    return r;
}
int cuMemFree_v2(void *p) { FREE(p); }
int cuMemHostAlloc(void **out, size_t n, unsigned flags) { (void) flags; int r = result(__func__); if (!r) { *out = malloc(n); } return r; }
int cuMemFreeHost(void *p) { FREE(p); }
int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t n, void *s) { (void) s; memmove(to, from, n); RESULT; }
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t n, void *s) { (void) s; memmove(to, from, n); RESULT; }
int cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t n, void *s) { (void) s; memmove(to, from, n); RESULT; }
int cuMemsetD8Async(void *to, unsigned char x, size_t n, void *s) { (void) s; memset(to, x, n); RESULT; }
int cuMemsetD32Async(void *to, unsigned x, size_t n, void *s) { (void) s; for (size_t i = 0; i < n; i++) { ((unsigned *) to)[i] = x; } RESULT; }
struct ipc { char reserved[64]; };
int cuIpcGetMemHandle(struct ipc *out, void *p) { memcpy(out, &p, sizeof p); RESULT; }
int cuIpcOpenMemHandle_v2(void **out, struct ipc handle, unsigned flags) { (void) flags; memcpy(out, &handle, sizeof *out); RESULT; }
int cuIpcCloseMemHandle(void *p) { (void) p; RESULT; }
int cuStreamCreate(void **out, unsigned flags) { (void) flags; HANDLE(out); }
int cuStreamCreateWithPriority(void **out, unsigned flags, int priority) { (void) flags; (void) priority; HANDLE(out); }
int cuStreamDestroy_v2(void *s) { FREE(s); }
int cuStreamSynchronize(void *s) { (void) s; RESULT; }
int cuStreamQuery(void *s) { (void) s; RESULT; }
int cuStreamWaitEvent(void *s, void *e, unsigned flags) { (void) s; (void) e; (void) flags; RESULT; }
int cuStreamWriteValue32_v2(void *s, unsigned *at, unsigned value, unsigned flags) { (void) s; (void) flags; *at = value; RESULT; }
int cuStreamWaitValue32_v2(void *s, unsigned *at, unsigned value, unsigned flags) { (void) s; (void) at; (void) value; (void) flags; RESULT; }
int cuStreamBeginCapture_v2(void *s, int mode) { (void) s; (void) mode; RESULT; }
int cuStreamEndCapture(void *s, void **out) { (void) s; HANDLE(out); }
int cuEventCreate(void **out, unsigned flags) { (void) flags; HANDLE(out); }
int cuEventDestroy_v2(void *e) { FREE(e); }
int cuEventRecord(void *e, void *s) { (void) e; (void) s; RESULT; }
int cuEventSynchronize(void *e) { (void) e; RESULT; }
int cuEventElapsedTime(float *out, void *a, void *b) { (void) a; (void) b; *out = 1.5f; RESULT; }
int cuGraphInstantiateWithFlags(void **out, void *g, unsigned long long flags) { (void) g; (void) flags; HANDLE(out); }
int cuGraphGetNodes(void *g, void *nodes, size_t *n) { (void) g; (void) nodes; *n = 3; RESULT; }
int cuGraphLaunch(void *g, void *s) { (void) g; (void) s; RESULT; }
int cuGraphExecDestroy(void *g) { FREE(g); }
int cuGraphDestroy(void *g) { FREE(g); }
int cuModuleLoadData(void **out, const void *image) { (void) image; HANDLE(out); }
int cuModuleUnload(void *m) { FREE(m); }
int cuModuleGetFunction(void **out, void *m, const char *name) {
    (void) m;
    int r = strcmp(name, "missing") ? result(__func__) : 500;
    *out = (void *) 32;
    return r;
}
int cuFuncGetAttribute(int *out, int attribute, void *f) { (void) f; *out = attribute == 4 ? 40 : 0; RESULT; }
int cuFuncSetAttribute(void *f, int attribute, int value) { (void) f; (void) attribute; (void) value; RESULT; }
int cuFuncGetParamInfo(void *f, size_t i, size_t *offset, size_t *size) {
    (void) f;
    if (i >= (size_t) parameters) {
        return 1;
    }
    *offset = 8 * i;
    *size = launch_size[i] = parameter_bytes[i];
    return 0;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, void *f, int threads, size_t shared) { (void) f; (void) threads; (void) shared; *out = 2; RESULT; }
int cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                   void *s, void **arguments, void **extra) {
    (void) f; (void) gx; (void) gy; (void) gz; (void) bx; (void) by; (void) bz; (void) shared; (void) s; (void) extra;
    for (int i = 0; i < parameters; i++) {
        memcpy(launch_bytes[i], arguments[i], parameter_bytes[i]);
    }
    launch_count++;
    RESULT;
}
struct configuration {
    unsigned sizes[6], shared;
    void *stream;
    struct { int id, pad, value; } *attributes;
    unsigned count;
};
/** Blocks, threads and shared bytes of the last launch that may overlap the one before it. */
static long long overlapping;
int cuLaunchKernelEx(const struct configuration *c, void *f, void **arguments, void **extra) {
    if (c->count == 1 && c->attributes->id == 6 && c->attributes->value == 1) {
        overlapping = c->sizes[0] * 1000000LL + c->sizes[3] * 1000 + c->shared;
    }
    return cuLaunchKernel(f, c->sizes[0], c->sizes[1], c->sizes[2], c->sizes[3], c->sizes[4], c->sizes[5], c->shared,
                          c->stream, arguments, extra);
}
long long stub_overlapping(void) { return overlapping; }
int stub_launches(void) { return launch_count; }
#ifndef OLD_DRIVER
int cuTensorMapEncodeTiled(void) { RESULT; }
#endif

/* libnvrtc: the "machine code" is the source behind the architecture */
struct program { char *text; char *code; };
const char *nvrtcGetErrorString(int code) { return code == 6 ? "NVRTC_ERROR_COMPILATION" : "NVRTC_ERROR_SCRIPTED"; }
int nvrtcVersion(int *major, int *minor) { *major = 13; *minor = 0; RESULT; }
int nvrtcGetNumSupportedArchs(int *out) { *out = 2; RESULT; }
int nvrtcGetSupportedArchs(int *out) { out[0] = 80; out[1] = 90; RESULT; }
int nvrtcCreateProgram(struct program **out, const char *text, const char *name, int n, const char **headers, const char **names) {
    (void) name; (void) n; (void) headers; (void) names;
    *out = calloc(1, sizeof **out);
    (*out)->text = strdup(text);
    RESULT;
}
int nvrtcCompileProgram(struct program *p, int n, const char **options) {
    int r = result(__func__);
    p->code = malloc(strlen(p->text) + strlen(options[n - 1]) + 2);
    sprintf(p->code, "%s\n%s", options[n - 1], p->text);
    return r ? r : strstr(p->text, "mistake") ? 6 : 0;
}
static const char LOG[] = "cuda/bad.cu(3): error: identifier \"mistake\" is undefined\n1 error detected\n";
int nvrtcGetProgramLogSize(struct program *p, size_t *out) { (void) p; *out = sizeof LOG; RESULT; }
int nvrtcGetProgramLog(struct program *p, char *out) { (void) p; memcpy(out, LOG, sizeof LOG); RESULT; }
int nvrtcGetCUBINSize(struct program *p, size_t *out) { *out = strlen(p->code); RESULT; }
int nvrtcGetCUBIN(struct program *p, char *out) { memcpy(out, p->code, strlen(p->code)); RESULT; }
int nvrtcDestroyProgram(struct program **p) { free((*p)->text); free((*p)->code); free(*p); *p = 0; RESULT; }

/* libcublasLt */
const char *cublasLtGetStatusName(int code) { return code == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_SCRIPTED"; }
const char *cublasLtGetStatusString(int code) { return code == 15 ? "not supported" : "as scripted"; }
size_t cublasLtGetVersion(void) { return 130000; }
int cublasLtCreate(void **out) { HANDLE(out); }
int cublasLtDestroy(void *h) { FREE(h); }
int cublasLtMatmulDescCreate(void **out, int compute, int scale) { (void) compute; (void) scale; HANDLE(out); }
int cublasLtMatmulDescDestroy(void *d) { FREE(d); }
int cublasLtMatmulDescSetAttribute(void *d, int attribute, const void *value, size_t n) { (void) d; (void) attribute; (void) value; (void) n; RESULT; }
struct layout { int type; unsigned long rows, columns; long stride; };
int cublasLtMatrixLayoutCreate(struct layout **out, int type, unsigned long rows, unsigned long columns, long stride) {
    *out = malloc(sizeof **out);
    **out = (struct layout) {type, rows, columns, stride};
    RESULT;
}
int cublasLtMatrixLayoutDestroy(void *l) { FREE(l); }
int cublasLtMatrixLayoutSetAttribute(void *l, int attribute, const void *value, size_t n) { (void) l; (void) attribute; (void) value; (void) n; RESULT; }
int cublasLtMatmulPreferenceCreate(void **out) { HANDLE(out); }
int cublasLtMatmulPreferenceDestroy(void *p) { FREE(p); }
int cublasLtMatmulPreferenceSetAttribute(void *p, int attribute, const void *value, size_t n) { (void) p; (void) attribute; (void) value; (void) n; RESULT; }
struct heuristic { unsigned long algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; };
int cublasLtMatmulAlgoGetHeuristic(void *h, void *d, struct layout *a, struct layout *b, struct layout *c, struct layout *o, void *p,
                                   int n, struct heuristic *out, int *found) {
    (void) h; (void) d; (void) a; (void) b; (void) c; (void) o; (void) p; (void) n;
    *found = o->rows != 13;
    memset(out, 0, sizeof *out);
    out->algorithm[0] = 42;
    RESULT;
}
/* F32 without transposes, column-major. */
int cublasLtMatmul(void *h, void *d, const float *alpha, const float *A, struct layout *a, const float *B, struct layout *b,
                   const float *beta, const float *C, struct layout *c, float *D, struct layout *o, const unsigned long *algorithm,
                   void *workspace, size_t n, void *s) {
    (void) h; (void) d; (void) workspace; (void) n; (void) s;
    for (unsigned long j = 0; j < o->columns && algorithm[0] == 42; j++) {
        for (unsigned long i = 0; i < o->rows; i++) {
            float sum = 0;
            for (unsigned long k = 0; k < a->columns; k++) {
                sum += A[i + k * a->stride] * B[k + j * b->stride];
            }
            D[i + j * o->stride] = *alpha * sum + (*beta ? *beta * C[i + j * c->stride] : 0);
        }
    }
    RESULT;
}
