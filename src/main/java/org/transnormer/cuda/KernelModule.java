package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Kernels of one source, loaded on a device. */
public final class KernelModule extends Owner {
    private final String name;
    private final MemorySegment handle;

    private KernelModule(Context context, String name, MemorySegment handle) {
        super(context);
        this.name = name;
        this.handle = handle;
    }

    /** Takes the code for the context's device from the cache, or compiles it, and loads it. */
    public static KernelModule load(Context context, KernelCache cache, KernelSource source, String... options) {
        return load(context, source.name(), cache.load(source, List.of(options), context.device().architecture()));
    }

    /** Loads machine code. */
    static KernelModule load(Context context, String name, byte[] code) {
        context.checkOpen();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuModuleLoadData", cuModuleLoadData(out, arena.allocateFrom(C_CHAR, code)), name);
            return new KernelModule(context, name, out.get(C_POINTER, 0));
        }
    }

    /**
     * A kernel by the name it has in the source, where it is {@code extern "C" __global__}.
     *
     * @param parameters the types of its parameters, which are compared with those of the code
     */
    public Kernel kernel(String kernel, ArgumentType... parameters) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuModuleGetFunction", cuModuleGetFunction(out, open(handle), arena.allocateFrom(kernel)),
                    name + ": " + kernel);
            return new Kernel(this, kernel, out.get(C_POINTER, 0), List.of(parameters));
        }
    }

    @Override
    void release() {
        Driver.check("cuModuleUnload", cuModuleUnload(handle));
    }
}
