package org.transnormer.cuda;

import static org.transnormer.cuda.bindings.driver.DriverApi.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Recorded work of a stream; launching it costs one call. Addresses and arguments are those of the recording: values
 * that change lie in device memory.
 */
public final class Graph extends Owner {
    private final MemorySegment executable;
    private final long nodes;

    private Graph(Context context, MemorySegment executable, long nodes) {
        super(context);
        this.executable = executable;
        this.nodes = nodes;
    }

    /** Makes the recorded graph executable; the recording itself is freed. */
    static Graph of(Context context, MemorySegment recorded) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(C_LONG);
            Driver.check("cuGraphGetNodes", cuGraphGetNodes(recorded, MemorySegment.NULL, count));
            MemorySegment out = arena.allocate(C_POINTER);
            Driver.check("cuGraphInstantiateWithFlags", cuGraphInstantiateWithFlags(out, recorded, 0));
            return new Graph(context, out.get(C_POINTER, 0), count.get(C_LONG, 0));
        } finally {
            Driver.check("cuGraphDestroy", cuGraphDestroy(recorded));
        }
    }

    /** Kernels, copies and fills recorded. */
    public long nodes() {
        return nodes;
    }

    /** Enqueues all of it. */
    public void launch(Stream stream) {
        Driver.check("cuGraphLaunch", cuGraphLaunch(open(executable), stream.handle()));
    }

    @Override
    void release() {
        Driver.check("cuGraphExecDestroy", cuGraphExecDestroy(executable));
    }
}
