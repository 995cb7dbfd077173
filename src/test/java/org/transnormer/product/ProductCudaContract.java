package org.transnormer.product;

import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.transnormer.tensor.Tensor;
import org.transnormer.testing.Framed;
import org.transnormer.testing.TestTensors;

/** What the CUDA twin of {@link Product} does on top. */
interface ProductCudaContract extends ProductContract {

    @Property(tries = 30)
    default void nothingElseIsTouched(@ForAll("cases") Case c) {
        try (TestTensors tensors = new TestTensors(c.seed())) {
            Tensor[] in = new Tensor[3];
            for (int i = 0; i < in.length; i++) {
                in[i] = tensors.random("x", dtype(), c.values(), c.rows(), c.columns());
            }
            Framed[] out = new Framed[3];
            for (int i = 0; i < out.length; i++) {
                out[i] = Framed.of(tensors, "out " + i, dtype(), c.gap(), c.rows(), c.columns());
            }
            subject().backwardAndForward(in[0], in[1], in[2], out[0].inside(), out[1].inside(), out[2].inside());
            for (Framed each : out) {
                each.assertFilled();
            }
        }
    }
}
