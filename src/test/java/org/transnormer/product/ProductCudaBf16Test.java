package org.transnormer.product;

import net.jqwik.api.Tag;
import org.transnormer.tensor.DType;
import org.transnormer.testing.OnDevice;

/** The twin on a GPU, in BF16. */
@Tag("gpu")
class ProductCudaBf16Test implements ProductCudaContract {
    private static final Product SUBJECT = OnDevice.wrap(Product.class, ProductCuda::new);

    @Override
    public Product subject() {
        return SUBJECT;
    }

    @Override
    public DType dtype() {
        return DType.BF16;
    }
}
