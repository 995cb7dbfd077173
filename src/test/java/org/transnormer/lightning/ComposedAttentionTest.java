package org.transnormer.lightning;

import static org.assertj.core.api.Assertions.assertThat;

import net.jqwik.api.ForAll;
import net.jqwik.api.Group;
import net.jqwik.api.Property;
import net.jqwik.api.lifecycle.AfterContainer;
import org.transnormer.activation.ActivationScalar;
import org.transnormer.activation.ActivationVector;
import org.transnormer.lrpe.LrpeScalar;
import org.transnormer.lrpe.LrpeVector;
import org.transnormer.simd.Workers;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Workspace;
import org.transnormer.verify.Tolerance;

class ComposedAttentionTest {
    private static final HostMemory MEMORY = new HostMemory();
    private static final Workers WORKERS = new Workers(2);
    private static final ComposedAttention SCALAR = new ComposedAttention(new ActivationScalar(), new LrpeScalar(),
            new LightningRecurrent(), MEMORY);
    private static final Workspace SHARED = new Workspace(MEMORY);
    private static final ComposedAttention VECTOR = new ComposedAttention(new ActivationVector(WORKERS),
            new LrpeVector(WORKERS, SHARED), new LightningVector(WORKERS, SHARED), MEMORY);

    @AfterContainer
    static void close() {
        WORKERS.close();
        MEMORY.close();
    }

    @Group
    class OfScalarParts implements FeatureAttentionContract {
        @Override
        public FeatureAttention subject() {
            return SCALAR;
        }

        @Override
        public DType dtype() {
            return DType.F64;
        }

        /** The same operations, but for the order in which dθ takes in q and k. */
        @Override
        public Tolerance tolerance(FeatureCall.Case shape) {
            return new Tolerance(4, 2);
        }
    }

    @Group
    class OfScalarPartsInBf16 implements FeatureAttentionContract {
        @Override
        public FeatureAttention subject() {
            return SCALAR;
        }

        @Override
        public DType dtype() {
            return DType.BF16;
        }

        /** φ and LRPE of q and of k, the attention, LRPE and φ on the way back: one rounding each. */
        @Override
        public Tolerance tolerance(FeatureCall.Case shape) {
            return new Tolerance(7, 3.5);
        }
    }

    @Group
    class OfVectorParts implements FeatureAttentionContract {
        @Override
        public FeatureAttention subject() {
            return VECTOR;
        }

        @Override
        public DType dtype() {
            return DType.F32;
        }

        /** 6 for each of φ and LRPE of q and k, of which a product takes in both, and 8 of the attention. */
        @Override
        public Tolerance tolerance(FeatureCall.Case shape) {
            return new Tolerance(32, 16);
        }

        @Property(tries = 20)
        void scratchIsWhatWasReserved(@ForAll("calls") FeatureCall.Case shape) {
            try (HostMemory memory = new HostMemory(); FeatureCall call = FeatureCall.of(shape, DType.F32)) {
                Workspace parts = new Workspace(MEMORY);
                ComposedAttention attention = new ComposedAttention(new ActivationVector(WORKERS),
                        new LrpeVector(WORKERS, parts), new LightningVector(WORKERS, parts), memory);
                attention.reserve(DType.F32, shape.tokens(), shape.lengths().size(), shape.heads(), shape.d(),
                        shape.dv(), shape.lrpe(), true);
                attention.commit();
                long planned = memory.plan().bytes(MemoryKind.ACTIVATIONS);
                call.run(attention);
                assertThat(memory.plan().bytes(MemoryKind.ACTIVATIONS)).isEqualTo(planned);
            }
        }
    }
}
