package org.transnormer.lrpe;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;
import org.transnormer.testing.Values;

class LrpeVectorTest implements LrpeContract {
    private static final Workers WORKERS = new Workers(2);
    private static final HostMemory MEMORY = new HostMemory();
    private static final Workspace WORKSPACE = new Workspace(MEMORY);

    @AfterContainer
    static void stop() {
        WORKERS.close();
        MEMORY.close();
    }

    @Override
    public Lrpe subject() {
        return new LrpeVector(WORKERS, WORKSPACE);
    }

    @Override
    public DType dtype() {
        return DType.F32;
    }

    @Override
    public DType thetaType() {
        return DType.F32;
    }

    @Property(tries = 10)
    void anyNumberOfThreadsGivesTheSameBits(@ForAll long seed) {
        LrpeContract.Case c = new LrpeContract.Case(1100, 3, 17, 5, 0, Values.NORMAL, seed);
        try (Operands o = new Operands(c, DType.F32, DType.F32); Workers one = new Workers(1);
                Workers three = new Workers(3)) {
            Tensor dy = o.tensors.random("dy", DType.F32, Values.NORMAL, 1100, 3, 34);
            Tensor[] results = new Tensor[6];
            int i = 0;
            for (Workers workers : new Workers[] {one, three}) {
                Lrpe lrpe = new LrpeVector(workers, new Workspace(o.tensors.memory()));
                results[i] = o.tensors.poisoned("y", DType.F32, 1100, 3, 34);
                results[i + 1] = o.tensors.poisoned("dx", DType.F32, 1100, 3, 17);
                results[i + 2] = o.tensors.zeros("dtheta", DType.F32, 3, 17);
                lrpe.forward(o.x, o.theta, o.positions, results[i]);
                lrpe.backward(o.x, o.theta, o.positions, dy, results[i + 1], results[i + 2]);
                i += 3;
            }
            for (int j = 0; j < 3; j++) {
                assertThat(results[j + 3].segment().mismatch(results[j].segment())).isEqualTo(-1);
            }
        }
    }
}
