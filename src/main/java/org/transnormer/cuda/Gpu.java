package org.transnormer.cuda;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.transnormer.EnvironmentException;

/**
 * What every CUDA twin works with: a device, one stream on which everything is enqueued in order, and the kernels. Used
 * by the thread that opened it.
 */
public final class Gpu implements AutoCloseable {
    /** What a plan was made with, for who opens the same device next; see {@link #keep}. */
    private static Gpu kept;

    private final Context context;
    private final Thread user = Thread.currentThread();
    private final Stream stream;
    private final KernelCache cache;
    private final long idleFree;
    private final Map<String, KernelModule> modules = new HashMap<>();

    private Gpu(Context context, KernelCache cache) {
        this.context = context;
        this.cache = cache;
        stream = Stream.of(context);
        idleFree = context.freeBytes();
    }

    /**
     * Opens the GPU of {@code -Dtnl.device}, else the first one.
     *
     * @throws org.transnormer.EnvironmentException if there is none, or it is too old, or a library is missing
     */
    public static Gpu open() {
        return open(ordinal());
    }

    /** As {@link #open()}, another GPU. */
    public static synchronized Gpu open(int ordinal) {
        if (kept != null && kept.user == Thread.currentThread() && kept.device().ordinal() == ordinal) {
            Gpu gpu = kept;
            kept = null;
            return gpu;
        }
        // Everything that a step will need is looked for now, the GPU first: without it the rest need not be installed.
        Device device = Device.of(ordinal);
        KernelCompiler.load();
        CublasLt.load();
        return new Gpu(Context.open(device), KernelCache.standard());
    }

    /** Why this machine has no GPU that the kernels run on, in the words of the error; empty if it has one. */
    public static Optional<String> absence() {
        try {
            inUse();
            KernelCompiler.load();
            CublasLt.load();
            return Optional.empty();
        } catch (EnvironmentException e) {
            return Optional.of(e.getMessage());
        }
    }

    /** The device that {@link #open} takes. */
    static Device inUse() {
        return Device.of(ordinal());
    }

    private static int ordinal() {
        return Integer.getInteger("tnl.device", 0);
    }

    public Device device() {
        return context.device();
    }

    /** Whether kernels for compute capability 9.0 alone are used; {@code -Dtnl.cuda.portable} leaves them out. */
    public boolean usesHopper() {
        return device().isHopper() && "false".equals(System.getProperty("tnl.cuda.portable", "false"));
    }

    public Context context() {
        return context;
    }

    public Stream stream() {
        return stream;
    }

    /** Device memory that was taken since this was opened: tensors, kernels and the libraries' own. */
    public long takenBytes() {
        return idleFree - context.freeBytes();
    }

    /** Compiles what the cache does not hold of several sources at once, since one takes up to seconds. */
    public void compile(List<String> stems) {
        String architecture = device().architecture();
        List<CompletableFuture<byte[]>> codes = stems.stream().map(stem -> CompletableFuture.supplyAsync(
                () -> cache.load(KernelSource.resource(stem), List.of(), architecture))).toList();
        for (int i = 0; i < codes.size(); i++) {
            String stem = stems.get(i);
            byte[] code = joined(codes.get(i));
            modules.computeIfAbsent(stem, _ -> KernelModule.load(context, stem, code));
        }
    }

    private static byte[] joined(CompletableFuture<byte[]> code) {
        try {
            return code.join();
        } catch (CompletionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                default -> throw e;
            }
        }
    }

    /**
     * A kernel of {@code cuda/<stem>.cu}.
     *
     * @param parameters the types of its parameters, which are compared with those of the code
     */
    public Kernel kernel(String stem, String name, ArgumentType... parameters) {
        return modules.computeIfAbsent(stem, _ -> KernelModule.load(context, cache, KernelSource.resource(stem)))
                .kernel(name, parameters);
    }

    /** A launch of a kernel of {@code cuda/<stem>.cu}, to be prepared once and used again and again. */
    public Launch launch(String stem, String name, ArgumentType... parameters) {
        return Launch.of(context, kernel(stem, name, parameters));
    }

    /**
     * Leaves context and kernels to the next {@link #open} of this thread, instead of {@link #close}. One is kept at a
     * time, and what another thread keeps is left to it.
     */
    public void keep() {
        synchronized (Gpu.class) {
            if (kept != null && kept.user != user) {
                close();
                return;
            }
            if (kept != null) {
                kept.close();
            }
            kept = this;
        }
    }

    /** Frees everything that was made on this device. Idempotent. */
    @Override
    public void close() {
        context.close();
    }
}
