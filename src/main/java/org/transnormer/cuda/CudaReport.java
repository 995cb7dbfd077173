package org.transnormer.cuda;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Supplier;
import org.transnormer.EnvironmentException;
import org.transnormer.cuda.CudaLibrary.Attempt;

/** What of CUDA this machine has: libraries and versions, or every path where one was looked for; GPUs; kernel cache. */
public final class CudaReport {
    /**
     * One line of the report.
     *
     * @param key empty: the line goes on with what the one before it says
     */
    public record Line(String key, String value) {
    }

    private final List<Line> lines = new ArrayList<>();

    private CudaReport() {}

    /** Looks, and never fails: what cannot be used is part of the report. */
    public static List<Line> lines() {
        CudaReport report = new CudaReport();
        boolean driver = report.library(CudaLibrary.DRIVER, () -> "%s, for CUDA up to %s".formatted(Driver.load(),
                decimal(Driver.version())));
        report.library(CudaLibrary.NVRTC, () -> "%s, version %s, for %s".formatted(KernelCompiler.load(),
                KernelCompiler.version(), KernelCompiler.architectures()));
        report.library(CudaLibrary.CUBLASLT, () -> "%s, version %d".formatted(CublasLt.load(), CublasLt.version()));
        report.library(CudaLibrary.NCCL, () -> "%s, version %s".formatted(NcclComm.load(), ncclVersion()));
        if (driver) {
            report.devices();
        }
        report.cache();
        return List.copyOf(report.lines);
    }

    /** The GPU in use and the versions of what it is driven by, in one line. */
    public static String summary() {
        return "%s, %s, NVRTC %s, cuBLASLt %d".formatted(Gpu.inUse().name(), Driver.load().getFileName(),
                KernelCompiler.version(), CublasLt.version());
    }

    /** NCCL's version, such as 2.28.9. */
    public static String ncclVersion() {
        int version = NcclComm.version();
        return "%d.%d.%d".formatted(version / 10_000, version / 100 % 100, version % 100);
    }

    private boolean library(CudaLibrary library, Supplier<String> use) {
        String key = library.name().toLowerCase(Locale.ROOT);
        List<Attempt> attempts = library.probe(System.getenv("CUDA_HOME"));
        if (attempts.getLast().error() == null) {
            return attempt(key, use);
        }
        lines.add(new Line(key, "not found: " + library.cure()));
        attempts.forEach(attempt -> lines.add(new Line("", attempt.message())));
        return false;
    }

    private void devices() {
        List<Device> devices;
        try {
            devices = Device.all();
        } catch (EnvironmentException e) {
            lines.add(new Line("devices", e.getMessage()));
            return;
        }
        for (Device device : devices) {
            attempt("device " + device.ordinal(), () -> {
                try (Context context = Context.open(device)) {
                    return "%s, compute capability %d.%d, %d multiprocessors, %.1f of %.1f GiB free".formatted(
                            device.name(), device.major(), device.minor(), device.processors(),
                            gibibytes(context.freeBytes()), gibibytes(device.memory()));
                }
            });
        }
    }

    private void cache() {
        KernelCache cache = KernelCache.standard();
        KernelCache.Contents contents = cache.contents();
        lines.add(new Line("kernels", "%d compiled, %d bytes, in %s".formatted(contents.files(), contents.bytes(),
                cache.folder())));
    }

    /** A library of another make can lack functions, which the linker finds out only at the call. */
    private boolean attempt(String key, Supplier<String> use) {
        try {
            lines.add(new Line(key, use.get()));
            return true;
        } catch (EnvironmentException | LinkageError e) {
            lines.add(new Line(key, "cannot be used: " + e.getMessage()));
            return false;
        }
    }

    /** CUDA's way to count: 1000 major + 10 minor. */
    private static String decimal(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    private static double gibibytes(long bytes) {
        return bytes / (double) (1L << 30);
    }
}
