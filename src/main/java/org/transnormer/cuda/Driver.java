package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import org.transnormer.cuda.bindings.driver.DriverApi;

/** Loads the driver, and turns the status of its functions into exceptions. */
final class Driver {
    private static boolean initialised;

    private Driver() {}

    /** Loads and initialises the driver unless that was done; every use of it starts here. */
    static synchronized Path load() {
        Path file = CudaLibrary.DRIVER.load(DriverApi.class);
        if (!initialised) {
            check("cuInit", cuInit(0));
            initialised = true;
        }
        return file;
    }

    /** CUDA version that the driver supports, as 1000 major + 10 minor. */
    static int version() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            check("cuDriverGetVersion", cuDriverGetVersion(out));
            return out.get(C_INT, 0);
        }
    }

    static void check(String api, int code) {
        check(api, code, null);
    }

    /** @param detail what was asked for; turned into text only if it is shown */
    static void check(String api, int code, Object detail) {
        if (Trace.ON) {
            Trace.call(api, detail, code);
        }
        if (code != CUDA_SUCCESS()) {
            throw failure(api, code, detail);
        }
    }

    private static CudaException failure(String api, int code, Object detail) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            String name = cuGetErrorName(code, out) == CUDA_SUCCESS() ? out.get(C_POINTER, 0).getString(0) : "unknown";
            String text = cuGetErrorString(code, out) == CUDA_SUCCESS() ? out.get(C_POINTER, 0).getString(0)
                    : "the driver does not know this status";
            return new CudaException(detail == null ? api : api + "(" + detail + ")", code, name, text, cure(code));
        }
    }

    private static String cure(int code) {
        if (code == CUDA_ERROR_OUT_OF_MEMORY()) {
            return "end other processes on the GPU (nvidia-smi lists them), or ask for less";
        }
        if (code == CUDA_ERROR_NO_DEVICE()) {
            return "nvidia-smi should list a GPU; if it does, CUDA_VISIBLE_DEVICES may hide it";
        }
        if (code == CUDA_ERROR_INVALID_DEVICE()) {
            return "tnl doctor lists the GPUs";
        }
        if (code == CUDA_ERROR_NO_BINARY_FOR_GPU() || code == CUDA_ERROR_UNSUPPORTED_PTX_VERSION()) {
            return "libnvrtc and driver do not fit: install a driver at least as new as libnvrtc";
        }
        if (code == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH() || code == CUDA_ERROR_DEINITIALIZED()) {
            return "the driver was updated while it ran: restart the machine";
        }
        if (code == CUDA_ERROR_ILLEGAL_ADDRESS() || code == CUDA_ERROR_LAUNCH_FAILED()) {
            return "a kernel that ran before this call is at fault: find it with -Dtnl.trace.cuda and compute-sanitizer";
        }
        return "-Dtnl.trace.cuda shows the calls before this one";
    }
}
