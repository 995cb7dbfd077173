package org.transnormer.backend;

import java.util.OptionalDouble;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;

/** A backend on the host's memory, whose calls return when the work is done. */
sealed interface HostBackend extends Backend permits ScalarBackend, VectorBackend {
    @Override
    default void zero(Tensor x) {
        x.fill(0);
    }

    @Override
    default void copy(Tensor from, Tensor to) {
        to.copyFrom(from);
    }

    @Override
    default Tensor readable(Tensor x) {
        return x;
    }

    /** 8 MiB in F32, which stays in a processor's last-level cache. */
    @Override
    default long logitsAtATime() {
        return 1L << 21;
    }

    @Override
    default OptionalDouble peakFlops() {
        return OptionalDouble.empty();
    }

    @Override
    default long capacity() {
        return HostMemory.machineBytes();
    }

    @Override
    default long deviceBytes() {
        return 0;
    }

    @Override
    default Mark mark() {
        return new Mark.Clock(System.nanoTime());
    }
}
