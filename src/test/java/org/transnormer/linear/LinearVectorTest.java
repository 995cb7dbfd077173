package org.transnormer.linear;

import net.jqwik.api.Group;
import net.jqwik.api.lifecycle.AfterContainer;
import net.jqwik.api.lifecycle.BeforeContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Workspace;

class LinearVectorTest {
    static HostMemory memory;
    static Workers workers;
    static Linear linear;

    @BeforeContainer
    static void open() {
        memory = new HostMemory();
        workers = new Workers(2);
        linear = new LinearVector(workers, new Workspace(memory));
    }

    @AfterContainer
    static void close() {
        workers.close();
        memory.close();
    }

    @Group
    class WeightsF32 implements LinearContract {
        @Override
        public Linear subject() {
            return linear;
        }

        @Override
        public DType activations() {
            return DType.F32;
        }

        @Override
        public DType weights() {
            return DType.F32;
        }
    }

    @Group
    class WeightsBf16 implements LinearContract {
        @Override
        public Linear subject() {
            return linear;
        }

        @Override
        public DType activations() {
            return DType.F32;
        }

        @Override
        public DType weights() {
            return DType.BF16;
        }
    }
}
