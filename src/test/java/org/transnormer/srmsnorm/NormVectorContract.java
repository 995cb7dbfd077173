package org.transnormer.srmsnorm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import net.jqwik.api.Example;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.simd.Workers;
import org.transnormer.srmsnorm.NormCase.Inputs;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.SameBits;
import org.transnormer.testing.TestTensors;
import org.transnormer.testing.Values;

/** What the vector twin of every norm does on top: F32 only, and bits that do not depend on the threads. */
interface NormVectorContract extends NormContract {
    Norm subject(Workers workers);

    @Override
    default DType dtype() {
        return DType.F32;
    }

    @Property(tries = 10)
    default void anyNumberOfThreadsGivesTheSameBits(@ForAll boolean gated, @ForAll boolean residual,
            @ForAll long seed) {
        // enough for several tasks of rows and of columns
        NormCase c = new NormCase(130, 300, 3, gated, residual, Values.NORMAL, seed);
        try (Workers one = new Workers(1); Workers three = new Workers(3)) {
            String first = checksums(c, type(), subject(one), statisticsType());
            assertThat(checksums(c, type(), subject(), statisticsType())).isEqualTo(first);
            assertThat(checksums(c, type(), subject(three), statisticsType())).isEqualTo(first);
        }
    }

    @Example
    default void otherTypesAreNamed() {
        try (TestTensors tensors = new TestTensors(1)) {
            Tensor x = tensors.zeros("activations", DType.BF16, 2, 3);
            Tensor statistics = tensors.zeros("statistics", statisticsType(), 2, subject().statistics());
            assertThatThrownBy(() -> subject().partial(x, statistics)).isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("activations BF16").hasMessageContaining("want F32");
        }
    }

    /** One line per result. */
    static String checksums(NormCase c, NormType type, Norm norm, DType statisticsType) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Inputs in = c.inputs(tensors, type, DType.F32);
            Tensor y = c.output(tensors, "y", DType.F32);
            Tensor dx = c.output(tensors, "dx", DType.F32);
            Tensor dgate = c.gated() ? c.output(tensors, "dgate", DType.F32) : null;
            NormParameters dparameters = NormCase.copy(tensors, in.parameters(), DType.F32);
            NormContract.forward(tensors, norm, statisticsType, in, y);
            NormContract.backward(tensors, norm, statisticsType, in, dx, dgate, dparameters);
            StringBuilder lines = new StringBuilder(type.name()).append('\n');
            lines.append(SameBits.checksum(y)).append(SameBits.checksum(dx));
            if (c.gated()) {
                lines.append(SameBits.checksum(dgate));
            }
            if (type.hasWeight()) {
                lines.append(SameBits.checksum(dparameters.weight()));
            }
            if (type.hasBias()) {
                lines.append(SameBits.checksum(dparameters.bias()));
            }
            return lines.toString();
        }
    }
}
