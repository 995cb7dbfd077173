package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** A function that runs on the device; it lives as long as its module. */
public final class Kernel {
    private final KernelModule module;
    private final String name;
    private final MemorySegment handle;
    private final List<ArgumentType> parameters;

    Kernel(KernelModule module, String name, MemorySegment handle, List<ArgumentType> parameters) {
        this.module = module;
        this.name = name;
        this.handle = handle;
        this.parameters = parameters;
        checkParameters();
    }

    /** A wrong argument would not fail but compute nonsense, so types are compared with the code, once. */
    private void checkParameters() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_LONG, 2);
            int i = 0;
            while (true) {
                int status = cuFuncGetParamInfo(handle, i, out, out.asSlice(C_LONG.byteSize()));
                if (status == CUDA_ERROR_INVALID_VALUE()) {
                    break;
                }
                Driver.check("cuFuncGetParamInfo", status, name);
                long bytes = out.getAtIndex(C_LONG, 1);
                if (i >= parameters.size() || parameters.get(i).bytes() != bytes) {
                    throw new IllegalArgumentException("%s: parameter %d has %d bytes; given: %s".formatted(name, i,
                            bytes, parameters));
                }
                i++;
            }
            if (i != parameters.size()) {
                throw new IllegalArgumentException("%s has %d parameters; given: %s".formatted(name, i, parameters));
            }
        }
    }

    public String name() {
        return name;
    }

    List<ArgumentType> parameters() {
        return parameters;
    }

    MemorySegment handle() {
        module.checkOpen();
        return handle;
    }

    /** Registers of one thread. */
    public int registers() {
        return attribute(CU_FUNC_ATTRIBUTE_NUM_REGS());
    }

    private int attribute(int attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            Driver.check("cuFuncGetAttribute", cuFuncGetAttribute(out, attribute, handle()), name);
            return out.get(C_INT, 0);
        }
    }

    /** Allows launches with so much dynamic shared memory, which beyond 48 KiB must be asked for. */
    public Kernel allowSharedBytes(int bytes) {
        Driver.check("cuFuncSetAttribute", cuFuncSetAttribute(handle(),
                CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES(), bytes), name + ", shared bytes " + bytes);
        return this;
    }

    /** How many blocks run on one multiprocessor at a time. */
    public int blocksPerProcessor(int threads, int sharedBytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(C_INT);
            Driver.check("cuOccupancyMaxActiveBlocksPerMultiprocessor",
                    cuOccupancyMaxActiveBlocksPerMultiprocessor(out, handle(), threads, sharedBytes), name);
            return out.get(C_INT, 0);
        }
    }
}
