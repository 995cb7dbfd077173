package org.transnormer.activation;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;

/** The twin on a GPU, in BF16. */
@Tag("gpu")
class ActivationCudaBf16Test implements ActivationCudaContract {
    private static final Activation SUBJECT = OnDevice.wrap(Activation.class, ActivationCuda::new);

    @Override
    public Activation subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }
}
